"""transforms.json of nerfstudio and instant-ngp: camera-to-world poses in OpenGL axes.

Instant-ngp often states `camera_angle_x` only and lists pictures without a file; nerfstudio adds lens models, masks,
depth, points and splits. `applied_transform` is left alone: poses and points share the transformed world already.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from scenerep.captures import Capture, Points, Split, View, picture_size
from scenerep.captures.points import points_from_ply
from scenerep.data_tools.images import find_picture
from scenerep.data_tools.readers.common import assemble, load_json, number, rigid
from scenerep.errors import FormatError
from scenerep.geometry.cameras import Camera, Distortion
from scenerep.geometry.poses import opencv_from_opengl

FILE = "transforms.json"
LOOKS_FOR = FILE
_FISHEYE = ("OPENCV_FISHEYE",)
_PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")


def detect(path: Path) -> bool:
    """Whether `path` is a folder with transforms.json, or a .json file that lists frames."""
    return (path / FILE).is_file() or (path.is_file() and path.suffix == ".json" and "transforms" in path.name)


def read(path: Path, *, test_every: int = 8) -> Capture:
    """Reads transforms.json. Its `train_filenames` and `test_filenames` (or `val_filenames`) state the split.

    Raises:
        DataError: no picture is there.
        FormatError: the file is broken; names the frame.
    """
    file = path / FILE if path.is_dir() else path
    document = load_json(file)
    frames = frames_of(document, file)
    views = [view_of_frame(file, document, frame, i) for i, frame in enumerate(frames)]
    points = None
    warnings = []
    if isinstance(document.get("ply_file_path"), str):
        ply = file.parent / document["ply_file_path"]
        if ply.is_file():
            points = points_from_ply(ply.read_bytes(), ply)
        else:
            warnings.append(f"{ply} is missing: the capture has no points")
    stated = _stated_split(document)
    if stated:
        views = [replace(view, split=stated[view.name]) for view in views if view.name in stated]
    return assemble(
        file.parent,
        "nerfstudio",
        views,
        points=_some(points),
        test_every=test_every,
        states_split=bool(stated),
        warnings=warnings,
    )


def frames_of(document: Any, file: Path) -> list[dict]:
    """The list of frames of a transforms file.

    Raises:
        FormatError: there is none, or an entry is not an object with a file_path.
    """
    frames = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not frames:
        raise FormatError(file, "an object with a list 'frames'", type(frames).__name__)
    for i, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise FormatError(file, f"an object with 'file_path' in frames[{i}]", repr(frame)[:60])
    return frames


def view_of_frame(file: Path, document: dict, frame: dict, i: int, split: Split = "train") -> View:
    """One frame as a View; a frame's own intrinsics win over those of the file.

    Raises:
        FormatError: intrinsics or pose are missing or broken.
    """
    place = f"frames[{i}]"
    root = file.parent
    name = str(Path(frame["file_path"]))  # drops a leading "./"
    image = find_picture(root, name)
    values = {**{key: value for key, value in document.items() if key != "frames"}, **frame}
    if image is None:
        # The view is left out later, whatever its size.
        camera = Camera(1.0, 1.0, 0.5, 0.5, 1, 1)
        return View(name, camera, root / name, split=split)
    world_from_camera = opencv_from_opengl(rigid(file, frame.get("transform_matrix"), place))
    camera = _camera(file, values, image, place, world_from_camera)
    mask = root / values["mask_path"] if isinstance(values.get("mask_path"), str) else None
    depth_path = values.get("depth_file_path", values.get("depth_path"))
    depth = root / depth_path if isinstance(depth_path, str) else None
    # nerfstudio's default unit of stored depth is the millimetre.
    scale = number(file, values, "depth_unit_scale_factor", 1e-3, place=place)
    name = name if Path(name).suffix == image.suffix else name + image.suffix
    return View(name, camera, image, mask, depth, scale, split)


def _camera(file: Path, values: dict, image: Path, place: str, world_from_camera) -> Camera:
    if "w" in values and "h" in values:
        width, height = (int(number(file, values, key, place=place)) for key in ("w", "h"))
    else:
        width, height = picture_size(image)
    if "fl_x" in values:
        fx = number(file, values, "fl_x", place=place)
    else:
        fx = _focal(file, values, "camera_angle_x", width, place)
    if "fl_y" in values:
        fy = number(file, values, "fl_y", place=place)
    else:
        fy = _focal(file, values, "camera_angle_y", height, place) if "camera_angle_y" in values else fx
    if not (fx > 0 and fy > 0 and width > 0 and height > 0):
        raise FormatError(
            file, f"a camera of positive size and focal length in {place}", f"{width}x{height}, {fx}, {fy}"
        )
    cx, cy = number(file, values, "cx", width / 2, place=place), number(file, values, "cy", height / 2, place=place)
    lens = _distortion(file, values, place)
    return Camera(fx, fy, cx, cy, width, height, world_from_camera, lens)


def _focal(file: Path, values: dict, key: str, pixels: int, place: str) -> float:
    angle = number(file, values, key, place=place)
    if not 0 < angle < math.pi:
        raise FormatError(file, f"an angle of 0 to pi in {key!r} of {place}", str(angle))
    return pixels / 2 / math.tan(angle / 2)


def _distortion(file: Path, values: dict, place: str) -> Distortion | None:
    model = values.get("camera_model", "OPENCV")
    k1, k2, k3, k4 = (number(file, values, key, 0.0, place=place) for key in ("k1", "k2", "k3", "k4"))
    p1, p2 = (number(file, values, key, 0.0, place=place) for key in ("p1", "p2"))
    if model in _FISHEYE or values.get("is_fisheye") is True:
        return Distortion("fisheye", (k1, k2, k3, k4))
    if model not in _PERSPECTIVE:
        known = ", ".join(_PERSPECTIVE + _FISHEYE)
        raise FormatError(file, f"a camera_model of {known}", repr(model), hint="undistort the pictures first")
    lens = Distortion("opencv", (k1, k2, p1, p2, k3) if k3 else (k1, k2, p1, p2))
    return None if lens.is_zero else lens


def _stated_split(document: dict) -> dict[str, Split]:
    stated: dict[str, Split] = {}
    held_out = document.get("test_filenames") or document.get("val_filenames")
    lists: list[tuple[Any, Split]] = [(document.get("train_filenames"), "train"), (held_out, "test")]
    for names, split in lists:
        for name in names if isinstance(names, list) else ():
            stated[str(Path(str(name)))] = split
    return stated if "train" in stated.values() else {}


def _some(points: Points | None) -> Points | None:
    return points if points is not None and len(points) else None
