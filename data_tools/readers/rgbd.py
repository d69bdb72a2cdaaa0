"""RGB-D folders as Open3D's reconstruction system uses them: image/ (or color/, rgb/), depth/, trajectory.log.

trajectory.log has five lines a frame: three numbers, then camera-to-world 4x4 in OpenCV axes. camera_intrinsic.json
(Open3D's) states the intrinsics; without it they are those of the PrimeSense sensors such sets come from: 525 pixels at
640x480, principal point (319.5, 239.5) in whole pixels, (320, 240) with centres at +0.5. Depth is in millimetres.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenerep.captures import Capture, View
from scenerep.data_tools.images import find_picture, list_pictures
from scenerep.data_tools.readers.common import assemble, load_json, rigid
from scenerep.errors import DataError, FormatError
from scenerep.geometry.cameras import Camera

FILE = "trajectory.log"
LOOKS_FOR = f"{FILE} with image/ and depth/"
_FOLDERS = ("image", "color", "rgb", "images")
_MILLIMETRE = 1e-3


def detect(path: Path) -> bool:
    """Whether trajectory.log, a folder of pictures and depth/ lie in `path`."""
    return (path / FILE).is_file() and (path / "depth").is_dir() and _folder(path) is not None


def read(path: Path, *, test_every: int = 8) -> Capture:
    """Reads poses, pictures and depth. The capture has no points: `initial_points` makes them from the depth.

    As many poses as pictures go together in sorted order; else the number in a picture's name is the line of its pose
    (every fifth frame of a longer recording, say).

    Raises:
        DataError: a picture has no pose.
        FormatError: trajectory.log or camera_intrinsic.json is broken.
    """
    folder = _folder(path)
    assert folder is not None
    poses = read_trajectory(path / FILE)
    pictures = list_pictures(folder)
    by_number = len(poses) != len(pictures)
    camera = _intrinsics(path)
    views = []
    for place, picture in enumerate(pictures):
        row = place
        if by_number:
            digits = "".join(c for c in picture.stem if c.isdigit())
            row = int(digits) if digits else -1
            if not 0 <= row < len(poses):
                raise DataError(f"{picture} has no pose: {path / FILE} has {len(poses)} frames, from 0")
        views.append(
            View(
                picture.name,
                Camera(camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height, poses[row]),
                picture,
                depth=find_picture(path / "depth", picture.stem),
                depth_scale=_MILLIMETRE,
            )
        )
    return assemble(path, "rgbd", views, test_every=test_every)


def read_trajectory(file: Path) -> list[np.ndarray]:
    """The camera-to-world poses [4, 4] of a trajectory.log, in its order.

    Raises:
        FormatError: a frame is broken; names its line.
    """
    lines = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    poses = []
    for start in range(0, len(lines), 5):
        try:
            matrix = [[float(word) for word in line.split()] for line in lines[start + 1 : start + 5]]
        except ValueError as error:
            raise FormatError(f"{file}, line {start + 1}", "a line of numbers and a 4x4 matrix", str(error)) from error
        if len(matrix) != 4 or any(len(row) != 4 for row in matrix):
            raise FormatError(f"{file}, line {start + 1}", "a line of numbers and a 4x4 matrix", "fewer numbers")
        poses.append(rigid(file, matrix, f"line {start + 1}"))
    return poses


def _folder(path: Path) -> Path | None:
    return next((path / name for name in _FOLDERS if (path / name).is_dir()), None)


def _intrinsics(path: Path) -> Camera:
    file = path / "camera_intrinsic.json"
    if not file.is_file():
        return Camera(525.0, 525.0, 320.0, 240.0, 640, 480)
    document = load_json(file)
    try:
        fx, _, _, _, fy, _, cx, cy, _ = (float(value) for value in document["intrinsic_matrix"])  # column by column
        return Camera(fx, fy, cx + 0.5, cy + 0.5, int(document["width"]), int(document["height"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(file, "width, height and intrinsic_matrix of 9 numbers", repr(error)) from error
