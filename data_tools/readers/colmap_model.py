"""COLMAP's sparse models: cameras, images and points3D as text or binary files.

Own parser: pycolmap stops the whole process at some broken files, and this one names the byte. The layout is that of
COLMAP's documentation ("Output Format"); rigs.bin and frames.bin of newer versions add nothing for single cameras.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenerep.errors import FormatError
from scenerep.geometry.cameras import Camera, Distortion
from scenerep.geometry.poses import inverse, pose
from scenerep.geometry.quaternions import rotation_from_quaternion

# Coordinates beyond this are damage: they overflow float32, in which points are kept.
LARGE = 1e30
# Name: (number in binary files, count of parameters), as in COLMAP's src/colmap/sensor/models.h
MODELS = {
    "SIMPLE_PINHOLE": (0, 3),
    "PINHOLE": (1, 4),
    "SIMPLE_RADIAL": (2, 4),
    "RADIAL": (3, 5),
    "OPENCV": (4, 8),
    "OPENCV_FISHEYE": (5, 8),
    "FULL_OPENCV": (6, 12),
    "FOV": (7, 5),
    "SIMPLE_RADIAL_FISHEYE": (8, 4),
    "RADIAL_FISHEYE": (9, 5),
    "THIN_PRISM_FISHEYE": (10, 12),
}
_NAMES = {number: name for name, (number, _) in MODELS.items()}


@dataclass(frozen=True)
class Image:
    """A registered picture: `pixels` [k, 2] are its keypoints, `point_ids` [k] their 3-D points, -1 = none."""

    name: str
    camera: Camera
    pixels: np.ndarray
    point_ids: np.ndarray


@dataclass(frozen=True)
class Model:
    """A sparse model: ids [m], xyz float64 [m, 3], rgb uint8 [m, 3], track_lengths [m]."""

    images: list[Image]
    ids: np.ndarray
    xyz: np.ndarray
    rgb: np.ndarray
    track_lengths: np.ndarray


def is_model(folder: Path) -> bool:
    """Whether the folder holds cameras and images in one of the two forms."""
    return any((folder / f"cameras{s}").is_file() and (folder / f"images{s}").is_file() for s in (".bin", ".txt"))


def read_model(folder: Path) -> Model:
    """Reads a model folder; binary files win over text. Without points3D the model has no points.

    Raises:
        FormatError: a file is cut off, has a wrong count, or names a camera that is not there or not supported.
    """
    binary = (folder / "cameras.bin").is_file()
    suffix = ".bin" if binary else ".txt"
    cameras = (_cameras_bin if binary else _cameras_txt)(folder / f"cameras{suffix}")
    images = (_images_bin if binary else _images_txt)(folder / f"images{suffix}", cameras)
    file = folder / f"points3D{suffix}"
    points = (_points_bin if binary else _points_txt)(file) if file.is_file() else []
    return Model(
        images,
        np.array([p[0] for p in points], dtype=np.int64),
        np.array([p[1:4] for p in points], dtype=np.float64).reshape(-1, 3),
        np.array([p[4:7] for p in points], dtype=np.uint8).reshape(-1, 3),
        np.array([p[7] for p in points], dtype=np.int64),
    )


def camera_from_model(model: str, width: int, height: int, params: list[float], file: Path) -> Camera:
    """A camera at the origin from COLMAP's model name and parameters.

    Raises:
        FormatError: the model is not supported, has another number of parameters, or a size or focal is not positive.
    """
    if model not in MODELS or model == "FOV":
        known = ", ".join(name for name in MODELS if name != "FOV")
        raise FormatError(file, f"a camera model of {known}", model, hint="undistort the pictures with COLMAP first")
    if len(params) != MODELS[model][1]:
        raise FormatError(file, f"{MODELS[model][1]} parameters of {model}", str(len(params)))
    shared_focal = model.startswith(("SIMPLE_", "RADIAL"))
    fx, fy, cx, cy, *rest = [params[0], *params] if shared_focal else params
    if not (np.all(np.isfinite(params)) and fx > 0 and fy > 0 and 0 < width < 1 << 20 and 0 < height < 1 << 20):
        raise FormatError(file, "a camera of positive size and focal length", f"{width}x{height}, {params}")
    distortion = None
    if model == "THIN_PRISM_FISHEYE":
        distortion = Distortion("thin_prism", tuple(rest))
    elif "FISHEYE" in model:
        distortion = Distortion("fisheye", tuple([*rest, 0.0, 0.0, 0.0, 0.0][:4]))
    elif rest:
        distortion = Distortion("opencv", tuple(rest) if len(rest) >= 4 else tuple([*rest, 0.0, 0.0, 0.0, 0.0][:4]))
    return Camera(fx, fy, cx, cy, width, height, distortion=distortion)


def _posed(cameras: dict[int, Camera], number: int, quat, translation, file: Path, name: str) -> Camera:
    if number not in cameras:
        raise FormatError(file, f"a camera of the model for {name}", f"camera {number}")
    values = np.array([*quat, *translation], dtype=np.float64)
    if not np.all(np.abs(values) < LARGE) or not np.any(values[:4]):
        raise FormatError(file, f"a finite pose of {name}", str(values.tolist()))
    camera_from_world = pose(rotation_from_quaternion(values[:4]), values[4:])
    c = cameras[number]
    return Camera(c.fx, c.fy, c.cx, c.cy, c.width, c.height, inverse(camera_from_world), c.distortion)


class _Bytes:
    """A cursor over a binary file; every read is checked against the bytes that are left."""

    def __init__(self, file: Path) -> None:
        self.file, self.data, self.at = file, file.read_bytes(), 0

    def take(self, layout: str) -> tuple:
        size = struct.calcsize("<" + layout)
        if len(self.data) - self.at < size:
            raise FormatError(self.file, f"{size} more bytes", f"{len(self.data) - self.at}", self.at)
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += size
        return values

    def count(self, smallest: int) -> int:
        """A 64-bit count of entries that have `smallest` bytes at least."""
        at = self.at
        (count,) = self.take("Q")
        if count * smallest > len(self.data) - self.at:
            raise FormatError(self.file, f"{count} entries", f"{len(self.data) - self.at} bytes", at)
        return count

    def array(self, dtype: np.dtype, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return values

    def text(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise FormatError(self.file, "a name that ends with a zero byte", "the end of the file", self.at)
        name = self.data[self.at : end].decode("utf-8", errors="replace")
        self.at = end + 1
        return name


def _cameras_bin(file: Path) -> dict[int, Camera]:
    data = _Bytes(file)
    cameras = {}
    for _ in range(data.count(24 + 24)):
        at = data.at
        number, model, width, height = data.take("iiQQ")
        if model not in _NAMES:
            raise FormatError(file, "a known camera model", f"number {model}", at)
        name = _NAMES[model]
        cameras[number] = camera_from_model(name, width, height, list(data.take(f"{MODELS[name][1]}d")), file)
    return cameras


def _images_bin(file: Path, cameras: dict[int, Camera]) -> list[Image]:
    data = _Bytes(file)
    images = []
    keypoint = np.dtype([("xy", "<f8", 2), ("point", "<i8")])
    for _ in range(data.count(64 + 1 + 8)):
        _, *values = data.take("i7di")
        name = data.text()
        camera = _posed(cameras, values[7], values[:4], values[4:7], file, name)
        points = data.array(keypoint, data.count(24))
        images.append(Image(name, camera, points["xy"], points["point"]))
    return images


def _points_bin(file: Path) -> list[tuple]:
    data = _Bytes(file)
    points = []
    for _ in range(data.count(43 + 8)):
        number, *xyz_rgb = data.take("Q3d3Bd")
        track = data.count(8)
        data.at += 8 * track
        points.append((number, *xyz_rgb[:6], track))
    return points


def _rows(file: Path) -> list[tuple[int, str]]:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return [(i + 1, line) for i, line in enumerate(lines) if not line.startswith("#")]


def _wrong(file: Path, line: int, what: str, text: str) -> FormatError:
    return FormatError(f"{file}, line {line}", what, repr(text[:80]))


def _cameras_txt(file: Path) -> dict[int, Camera]:
    cameras = {}
    for line, text in _rows(file):
        words = text.split()
        if not words:
            continue
        try:
            number, model, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
            params = [float(word) for word in words[4:]]
        except (ValueError, IndexError) as error:
            raise _wrong(file, line, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS", text) from error
        cameras[number] = camera_from_model(model, width, height, params, file)
    return cameras


def _images_txt(file: Path, cameras: dict[int, Camera]) -> list[Image]:
    rows = _rows(file)
    while rows and not rows[-1][1].strip():
        rows.pop()
    images = []
    # Two lines an image; the second, its keypoints, may be empty.
    for i in range(0, len(rows), 2):
        line, text = rows[i]
        words = text.split(maxsplit=9)
        try:
            values, number, name = [float(word) for word in words[1:8]], int(words[8]), words[9]
        except (ValueError, IndexError) as error:
            raise _wrong(file, line, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", text) from error
        camera = _posed(cameras, number, values[:4], values[4:], file, name)
        keypoints = rows[i + 1][1].split() if i + 1 < len(rows) else []
        try:
            table = np.array(keypoints, dtype=np.float64).reshape(-1, 3)
        except ValueError as error:
            raise _wrong(file, line + 1, "X Y POINT3D_ID, again and again", " ".join(keypoints)) from error
        images.append(Image(name, camera, table[:, :2], table[:, 2].astype(np.int64)))
    return images


def _points_txt(file: Path) -> list[tuple]:
    points = []
    for line, text in _rows(file):
        words = text.split()
        if not words:
            continue
        try:
            xyz, rgb = [float(word) for word in words[1:4]], [int(word) for word in words[4:7]]
            number = int(words[0])
        except (ValueError, IndexError) as error:
            raise _wrong(file, line, "POINT3D_ID X Y Z R G B ERROR TRACK", text) from error
        if len(words) < 8 or not all(0 <= value <= 255 for value in rgb):
            raise _wrong(file, line, "POINT3D_ID X Y Z R G B ERROR TRACK", text)
        points.append((number, *xyz, *rgb, (len(words) - 8) // 2))
    return points
