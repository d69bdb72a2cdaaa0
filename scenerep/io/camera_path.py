"""nerfstudio's camera-path JSON: what its viewer saves under "generate command".

    {"camera_path": [{"camera_to_world": [16 numbers, row by row], "fov": degrees, vertical}, ...],
     "render_width": 1920, "render_height": 1080, "fps": 24}

`camera_to_world` has OpenGL axes (x right, y up, looking along -z). The world has to be that of the capture: nerfstudio
recentres and scales its scenes unless told not to, and such a path does not fit a scene that was trained here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scenerep.errors import DataError, FormatError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import is_rotation, nearest_rotation, opencv_from_opengl, pose
from scenerep.io.files import write_bytes

_MAX_SIDE = 16384


def read_camera_path(path: str | Path) -> tuple[list[Camera], float | None]:
    """(cameras, pictures a second or None) from a nerfstudio camera-path file.

    Raises:
        DataError: if the file cannot be read.
        FormatError: if it is no such file; names the entry at fault.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "name a camera-path JSON file") from error
    except UnicodeDecodeError as error:
        raise FormatError(path, "JSON text", "bytes that are no text", error.start) from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(path, "JSON", str(error), getattr(error, "pos", None)) from None
    entries = content.get("camera_path") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise FormatError(path, "a list 'camera_path' with at least one camera", "none")
    kind = content.get("camera_type", "perspective")
    if kind != "perspective":
        raise FormatError(path, "perspective cameras", repr(kind), hint="save the path with perspective cameras")
    width = _number(content.get("render_width"), 1, _MAX_SIDE, path, "render_width")
    height = _number(content.get("render_height"), 1, _MAX_SIDE, path, "render_height")
    cameras = [_camera(entry, i, int(width), int(height), path) for i, entry in enumerate(entries)]
    fps = content.get("fps")
    return cameras, None if fps is None else _number(fps, 0.1, 1000, path, "fps")


def write_camera_path(
    cameras: Sequence[Camera], path: str | Path, *, fps: float = 30.0, overwrite: bool = True
) -> None:
    """Write cameras as a nerfstudio camera path; the file appears whole or not at all.

    The file has one picture size, the first camera's; principal points off the middle and fx != fy are lost.

    Raises:
        DataError: if there are no cameras, or the file cannot be written.
    """
    if not cameras:
        raise DataError(f"{path}: a camera path needs at least one camera")
    width, height = cameras[0].width, cameras[0].height
    entries = [
        {
            "camera_to_world": opencv_from_opengl(camera.world_from_camera).reshape(-1).tolist(),
            "fov": math.degrees(2 * math.atan(0.5 * camera.height / camera.fy)),
            "aspect": width / height,
        }
        for camera in cameras
    ]
    document = {
        "camera_type": "perspective",
        "render_width": width,
        "render_height": height,
        "fps": fps,
        "seconds": len(entries) / fps,
        "camera_path": entries,
    }
    write_bytes(path, (json.dumps(document, indent=1) + "\n").encode(), overwrite=overwrite)


def _camera(entry: Any, i: int, width: int, height: int, path: Path) -> Camera:
    place = f"camera_path[{i}]"
    if not isinstance(entry, dict):
        raise FormatError(path, f"an object at {place}", repr(entry)[:40])
    matrix = entry.get("camera_to_world")
    flat = (
        [value for row in matrix for value in (row if isinstance(row, list) else [row])]
        if isinstance(matrix, list)
        else []
    )
    if len(flat) not in (12, 16):
        raise FormatError(path, f"16 numbers in {place}.camera_to_world", str(len(flat)))
    numbers = [_number(value, -1e12, 1e12, path, f"{place}.camera_to_world") for value in flat]
    opengl = np.array(numbers[:12]).reshape(3, 4)
    if not is_rotation(opengl[:, :3], tolerance=1e-2):
        raise FormatError(path, f"a rotation in {place}.camera_to_world", "a matrix that is none")
    fov = math.radians(_number(entry.get("fov"), 0.1, 179, path, f"{place}.fov"))
    focal = 0.5 * height / math.tan(fov / 2)
    world = opencv_from_opengl(pose(nearest_rotation(opengl[:, :3]), opengl[:, 3]))
    return Camera(focal, focal, width / 2, height / 2, width, height, world)


def _number(value: Any, low: float, high: float, path: Path, place: str) -> float:
    # bool is an int for Python, and NaN fails the comparison.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise FormatError(path, f"a number from {low:g} to {high:g} for {place}", repr(value)[:40])
    return float(value)
