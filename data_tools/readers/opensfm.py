"""OpenSfM's reconstruction.json: focal lengths in units of the larger side, axis-angle world-to-camera poses.

OpenSfM's normalised coordinates are centred on the middle of the picture, so its principal point is (width / 2,
height / 2) plus (c_x, c_y) times the larger side, with pixel centres at +0.5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scenerep.captures import Capture, Points, View
from scenerep.data_tools.images import find_mask
from scenerep.data_tools.readers.common import assemble, load_json, number, shorten
from scenerep.errors import FormatError
from scenerep.geometry.cameras import Camera, Distortion
from scenerep.geometry.poses import inverse, pose
from scenerep.geometry.quaternions import rotation_from_axis_angle

LOOKS_FOR = "reconstruction*.json"


def detect(path: Path) -> bool:
    """Whether `path` is a folder with a reconstruction*.json, or that file."""
    if path.is_dir():
        return any(path.glob(LOOKS_FOR))
    return path.suffix == ".json" and path.name.startswith("reconstruction")


def read(path: Path, *, test_every: int = 8) -> Capture:
    """Reads the reconstruction with the most pictures; pictures lie in images/, masks in masks/.

    Raises:
        DataError: no picture is there.
        FormatError: the file is broken, or a projection type is not supported.
    """
    file = sorted(path.glob(LOOKS_FOR))[0] if path.is_dir() else path
    root = file.parent
    document = load_json(file)
    listed = document if isinstance(document, list) else []
    parts = [part for part in listed if isinstance(part, dict) and isinstance(part.get("shots"), dict)]
    if not parts:
        raise FormatError(file, "a list of reconstructions with shots", type(document).__name__)
    best = max(parts, key=lambda part: len(part["shots"]))
    warnings = []
    if len(parts) > 1:
        warnings.append(f"{file.name} has {len(parts)} separate reconstructions; only the largest was read")
    stored = best.get("cameras")
    cameras = stored if isinstance(stored, dict) else {}
    views = []
    for name, shot in best["shots"].items():
        lens = cameras.get(shot.get("camera")) if isinstance(shot, dict) else None
        if not isinstance(lens, dict):
            raise FormatError(file, f"a camera of the file in shot {name!r}", shorten(sorted(cameras)))
        rotation, translation = (_vector(file, shot.get(key), name, key) for key in ("rotation", "translation"))
        world_from_camera = inverse(pose(rotation_from_axis_angle(rotation), translation))
        views.append(
            View(name, _camera(file, lens, world_from_camera), root / "images" / name, mask=find_mask(root, name))
        )
    points = _points(file, best.get("points"))
    return assemble(root, "opensfm", views, points=points, test_every=test_every, warnings=warnings)


def _vector(file: Path, value: Any, name: str, key: str) -> np.ndarray:
    try:
        vector = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.empty(0)
    if vector.shape != (3,) or not np.all(np.isfinite(vector)):
        raise FormatError(file, f"three numbers {key!r} in {name!r}", repr(value)[:60])
    return vector


def _camera(file: Path, lens: dict, world_from_camera: np.ndarray) -> Camera:
    width, height = (int(number(file, lens, key)) for key in ("width", "height"))
    kind = lens.get("projection_type", "perspective")
    unit = max(width, height)

    def get(key: str, default: float | None = 0.0) -> float:
        return number(file, lens, key, default)

    if "focal_x" in lens:
        fx, fy = get("focal_x", None) * unit, get("focal_y", get("focal_x")) * unit
    else:
        fx = fy = get("focal", None) * unit
    if not (fx > 0 and fy > 0 and width > 0 and height > 0):
        raise FormatError(file, "cameras of positive size and focal length", f"{width}x{height}, {fx}")
    if kind in ("perspective", "brown", "simple_radial", "radial"):
        lens_model = Distortion("opencv", (get("k1"), get("k2"), get("p1"), get("p2"), get("k3")))
    elif kind in ("fisheye", "fisheye_opencv"):
        lens_model = Distortion("fisheye", (get("k1"), get("k2"), get("k3"), get("k4")))
    else:
        raise FormatError(
            file,
            "a projection type of perspective, brown, simple_radial, radial, fisheye, fisheye_opencv",
            repr(kind),
            hint="undistort the pictures with OpenSfM first",
        )
    cx, cy = width / 2 + get("c_x") * unit, height / 2 + get("c_y") * unit
    return Camera(fx, fy, cx, cy, width, height, world_from_camera, None if lens_model.is_zero else lens_model)


def _points(file: Path, stored: Any) -> Points | None:
    if not isinstance(stored, dict) or not stored:
        return None
    try:
        xyz = np.array([point["coordinates"] for point in stored.values()], dtype=np.float64).reshape(-1, 3)
        rgb = np.array([point.get("color", (128, 128, 128)) for point in stored.values()], dtype=np.float64)
        rgb = rgb.reshape(-1, 3)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(file, "points with 'coordinates' and 'color' of three numbers", str(error)) from error
    keep = (np.abs(xyz) < 1e30).all(axis=1) & np.isfinite(rgb).all(axis=1)
    return Points(xyz[keep], np.clip(np.round(rgb[keep]), 0, 255).astype(np.uint8)) if keep.any() else None
