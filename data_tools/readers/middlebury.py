"""Middlebury multi-view sets: NAME_par.txt, one line a picture: its name, K (9 numbers), R (9), t (3); P = K [R t].

K counts pixel centres as whole numbers, so half a pixel is added to the principal point.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenerep.captures import Capture, View, picture_size
from scenerep.data_tools.images import find_mask
from scenerep.data_tools.readers.common import assemble, rigid
from scenerep.errors import FormatError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import inverse

LOOKS_FOR = "*_par.txt"


def detect(path: Path) -> bool:
    """Whether `path` is a folder with a *_par.txt, or that file."""
    return any(path.glob(LOOKS_FOR)) if path.is_dir() else path.name.endswith("_par.txt")


def read(path: Path, *, test_every: int = 8) -> Capture:
    """Reads the list; pictures lie beside it.

    Raises:
        DataError: no picture is there.
        FormatError: a line is broken; names it.
    """
    file = sorted(path.glob(LOOKS_FOR))[0] if path.is_dir() else path
    root = file.parent
    lines = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if not lines or not lines[0].strip().isdigit() or int(lines[0]) != len(lines) - 1:
        raise FormatError(file, "the number of pictures, then a line for each", f"{len(lines)} lines")
    views = [_view(root, file, i + 2, line) for i, line in enumerate(lines[1:])]
    return assemble(root, "middlebury", views, test_every=test_every)


def _view(root: Path, file: Path, line: int, text: str) -> View:
    name, *words = text.split()
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        values = np.empty(0)
    if values.shape != (21,) or not np.all(np.isfinite(values)):
        raise FormatError(f"{file}, line {line}", "a name and 21 numbers", repr(text[:60]))
    k = values[:9].reshape(3, 3)
    if k[0, 0] <= 0 or k[1, 1] <= 0 or abs(k[0, 1]) > 1e-3 * k[0, 0]:
        raise FormatError(f"{file}, line {line}", "positive focal lengths and no skew", str(k.tolist()))
    matrix = np.concatenate([values[9:18].reshape(3, 3), values[18:].reshape(3, 1)], axis=1)
    world_from_camera = inverse(rigid(file, matrix, f"line {line}"))
    width, height = _size(root / name)
    camera = Camera(k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, width, height, world_from_camera)
    return View(name, camera, root / name, mask=find_mask(root, name))


def _size(picture: Path) -> tuple[int, int]:
    # A view without a file is left out later, whatever its size.
    return picture_size(picture) if picture.is_file() else (1, 1)
