"""Strecha's camera-calibration benchmark: gt_cameras/NAME.camera for every picture NAME.

Lines: K (3), distortion (1, must be zero), R as camera-to-world rows (3), the centre (1), width and height (1). K
counts pixel centres as whole numbers, so half a pixel is added to the principal point.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenerep.captures import Capture, View
from scenerep.data_tools.images import find_mask
from scenerep.data_tools.readers.common import assemble, rigid
from scenerep.errors import FormatError
from scenerep.geometry.cameras import Camera

LOOKS_FOR = "*.camera in gt_cameras or here"


def detect(path: Path) -> bool:
    """Whether .camera files lie in gt_cameras/ or in `path`."""
    return any(path.glob("gt_cameras/*.camera")) or any(path.glob("*.camera"))


def read(path: Path, *, test_every: int = 8) -> Capture:
    """Reads all .camera files; pictures lie in images/ or beside them.

    Raises:
        DataError: no picture is there.
        FormatError: a file is broken, or its lens has distortion (the benchmark's pictures are undistorted).
    """
    files = sorted(path.glob("gt_cameras/*.camera")) or sorted(path.glob("*.camera"))
    folder = path / "images" if (path / "images").is_dir() else path
    views = []
    for file in files:
        name = file.name.removesuffix(".camera")
        views.append(View(name, _camera(file), folder / name, mask=find_mask(path, name)))
    return assemble(path, "strecha", views, test_every=test_every)


def _camera(file: Path) -> Camera:
    words = file.read_text(encoding="utf-8", errors="replace").split()
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        values = np.empty(0)
    if values.shape != (26,) or not np.all(np.isfinite(values)):
        raise FormatError(file, "26 numbers: K, distortion, R, centre, width and height", f"{len(words)} words")
    k = values[:9].reshape(3, 3)
    if np.any(values[9:12]):
        raise FormatError(file, "a lens without distortion", str(values[9:12].tolist()), hint="undistort the pictures")
    if k[0, 0] <= 0 or k[1, 1] <= 0 or values[24] < 1 or values[25] < 1:
        raise FormatError(file, "positive focal lengths and size", str(k.tolist()))
    matrix = np.concatenate([values[12:21].reshape(3, 3), values[21:24].reshape(3, 1)], axis=1)
    size = int(values[24]), int(values[25])
    return Camera(k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, *size, rigid(file, matrix, "R"))
