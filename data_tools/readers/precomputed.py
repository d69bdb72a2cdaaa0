"""precomputed.json of Non-Rigid NeRF: poses as NeRF's LLFF loader leaves them, axes right, up, back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenerep.captures import Capture, View
from scenerep.data_tools.images import list_pictures
from scenerep.data_tools.readers.common import assemble, load_json, rigid
from scenerep.errors import DataError, FormatError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import opencv_from_opengl

FILE = "precomputed.json"
LOOKS_FOR = FILE


def detect(path: Path) -> bool:
    """Whether precomputed.json lies in `path`."""
    return (path / FILE).is_file()


def read(path: Path, *, test_every: int = 8) -> Capture:
    """Reads `poses` [n, 3, 5] (last column height, width, focal length) for the sorted pictures of images/.

    Raises:
        DataError: the number of pictures is not the number of poses.
        FormatError: the file is broken.
    """
    file = path / FILE
    document = load_json(file)
    try:
        poses = np.array(document["poses"], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(file, "an object with 'poses' of shape [n, 3, 5]", str(error)) from error
    if poses.ndim != 3 or poses.shape[1:] != (3, 5) or not np.all(np.isfinite(poses)):
        raise FormatError(file, "finite 'poses' of shape [n, 3, 5]", str(poses.shape))
    pictures = list_pictures(path / "images")
    if len(pictures) != len(poses):
        raise DataError(f"{file} has {len(poses)} poses, but {path / 'images'} has {len(pictures)} pictures")
    views = []
    for i, (picture, matrix) in enumerate(zip(pictures, poses)):
        height, width, focal = matrix[:, 4]
        if not (height >= 1 and width >= 1 and focal > 0):
            raise FormatError(file, f"a positive height, width and focal length in poses[{i}]", str(matrix[:, 4]))
        width, height = round(float(width)), round(float(height))
        world_from_camera = opencv_from_opengl(rigid(file, matrix[:, :4], f"poses[{i}]"))
        camera = Camera(float(focal), float(focal), width / 2, height / 2, width, height, world_from_camera)
        views.append(View(picture.name, camera, picture))
    return assemble(path, "precomputed", views, test_every=test_every)
