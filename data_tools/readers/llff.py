"""LLFF's poses_bounds.npy: one row a picture, in the lexicographic order of their names.

A row is 3x5 numbers and the near and far bound. Columns 0..2 are the camera's axes in the world in LLFF's order **down,
right, back**, column 3 is the centre, column 4 height, width and focal length. The principal point is the middle.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from scenerep.captures import Capture, Split, View
from scenerep.data_tools.images import find_mask, list_pictures
from scenerep.data_tools.readers.common import assemble, rigid
from scenerep.errors import DataError, FormatError
from scenerep.geometry.cameras import Camera

FILE = "poses_bounds.npy"
LOOKS_FOR = FILE


def detect(path: Path) -> bool:
    """Whether poses_bounds.npy lies in `path`, or above it where `path` is one of several folders of pictures."""
    return (path / FILE).is_file() or (path.is_dir() and (path.parent / FILE).is_file())


def read(path: Path, *, test_every: int = 8) -> Capture:
    """Reads the poses for the pictures of images/, or of `path` itself if it is a folder of pictures beside the file.

    `test_img_id.txt` (names without suffix, or row numbers) states the held-out views if it is there.

    Raises:
        DataError: the number of pictures is not the number of rows.
        FormatError: the file is not an array of [n, 17] numbers.
    """
    root = path if (path / FILE).is_file() else path.parent
    folder = path if root != path else _folder(root)
    file = root / FILE
    try:
        rows = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(file, "a NumPy array", str(error)) from error
    if rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind != "f" or not np.all(np.isfinite(rows)):
        raise FormatError(file, "finite numbers of shape [n, 17]", f"{rows.dtype} {rows.shape}")
    pictures = list_pictures(folder)
    if len(pictures) != len(rows):
        raise DataError(
            f"{file} has {len(rows)} poses, but {folder} has {len(pictures)} pictures",
            "the rows belong to the sorted pictures: put back those that are missing, remove those that are too many",
        )
    names = [picture.name for picture in pictures]
    held_out = _held_out(root / "test_img_id.txt", names)
    views = []
    for i, (picture, row) in enumerate(zip(pictures, rows)):
        matrix = row[:15].reshape(3, 5)
        height, width, focal = matrix[:, 4]
        if not (height >= 1 and width >= 1 and focal > 0):
            raise FormatError(file, f"a positive height, width and focal length in row {i}", str(matrix[:, 4]))
        down, right, back, centre = matrix[:, :4].T
        world_from_camera = rigid(file, np.stack([right, down, -back, centre], axis=1), f"row {i}")
        width, height = round(float(width)), round(float(height))
        camera = Camera(float(focal), float(focal), width / 2, height / 2, width, height, world_from_camera)
        split: Split = "test" if picture.name in held_out else "train"
        views.append(View(picture.name, camera, picture, mask=find_mask(root, picture.name), split=split))
    return assemble(root, "llff", views, test_every=test_every, states_split=bool(held_out))


def _folder(root: Path) -> Path:
    for name in ("images", "images_4", "images_8"):
        if (root / name).is_dir():
            return root / name
    raise DataError(f"{root}: the pictures of {FILE} are not there", "put them into a folder 'images' beside it")


def _held_out(file: Path, names: list[str]) -> set[str]:
    if not file.is_file():
        return set()
    words = file.read_text(encoding="utf-8", errors="replace").split()
    # Cut-outs carry the number of their photograph and more: 39-removed.png
    for key in (r"(.*)\.\w+$", r"(\d+)"):
        stems = {match[1]: name for name in names if (match := re.match(key, name))}
        if all(word in stems for word in words):
            return {stems[word] for word in words}
    if all(word.isdigit() and int(word) < len(names) for word in words):
        return {names[int(word)] for word in words}
    raise FormatError(file, "names of pictures without suffix, or their row numbers", " ".join(words)[:60])
