"""Point clouds: PLY, COLMAP points3D, LAS and LAZ (laspy), and what open3d reads (.pcd, .xyz, .xyzrgb, .pts)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from scenerep.captures import Points
from scenerep.captures.points import points_from_ply
from scenerep.errors import DataError, FormatError
from scenerep.io.ply_header import parse_header

_LAS = b"LASF"
_OPEN3D = (".pcd", ".xyz", ".xyzn", ".xyzrgb", ".pts")


def is_point_cloud(path: Path) -> bool:
    """Whether a file holds points and not Gaussians: by its ending, a PLY by its properties."""
    if path.suffix.lower() in _OPEN3D:
        return True
    with path.open("rb") as file:
        head = file.read(1 << 20)
    if head.startswith(_LAS):
        return True
    if not head.startswith((b"ply\n", b"ply\r")):
        return False
    try:
        header = parse_header(head, str(path))
    except FormatError:
        return False
    names = {name for element in header.elements if element.name == "vertex" for name, _ in element.properties}
    return {"x", "y", "z"} <= names and "f_dc_0" not in names


def read_points(path: str | Path) -> Points:
    """Points and colours of a file; grey where there are no colours.

    Raises:
        DataError: if the file cannot be read; FormatError if it is broken or empty.
    """
    path = Path(path)
    if path.suffix.lower() not in _OPEN3D:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        return _from_las(data, str(path)) if data.startswith(_LAS) else points_from_ply(data, str(path))
    import open3d  # seconds to load

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        cloud = open3d.io.read_point_cloud(path, remove_nan_points=True, remove_infinite_points=True)
    xyz = np.asarray(cloud.points, np.float32).reshape(-1, 3)
    if len(xyz) == 0:
        raise FormatError(path, f"a point cloud as {path.suffix}", "no points that open3d can read")
    colours = np.asarray(cloud.colors, np.float64).reshape(-1, 3)
    grey = np.full((len(xyz), 3), 128, np.uint8)
    return Points(xyz, np.clip(colours * 255 + 0.5, 0, 255).astype(np.uint8) if len(colours) == len(xyz) else grey)


def _from_las(data: bytes, file: str) -> Points:
    """LAS 1.0 to 1.4, or LAZ. Surveyors' coordinates of millions of metres keep what float32 keeps, some decimetres."""
    import laspy

    try:
        # The count stands in the head; points have at least 20 bytes, in LAZ well above one.
        with laspy.open(io.BytesIO(data)) as reader:
            count = reader.header.point_count
            if count > len(data):
                raise FormatError(file, f"at most {len(data)} points in as many bytes", f"{count}", 0)
            cloud = reader.read()
    except FormatError:
        raise
    except Exception as error:  # laspy's and lazrs' own, and struct.error, ValueError ... of broken files
        raise FormatError(file, "a sound LAS or LAZ file", str(error) or type(error).__name__, 0) from None
    xyz = np.asarray(cloud.xyz, np.float64).reshape(-1, 3)
    rgb = np.full((len(xyz), 3), 128, np.uint8)
    if {"red", "green", "blue"} <= set(cloud.point_format.dimension_names):
        wide = np.stack([np.asarray(cloud[name]) for name in ("red", "green", "blue")], axis=1)
        # 16 bits by the standard; many writers put 8 there.
        rgb = (wide >> 8 if wide.max(initial=0) > 255 else wide).astype(np.uint8)
    keep = (np.abs(xyz) < 1e30).all(axis=1)
    if not keep.any():
        raise FormatError(file, "a point cloud", "no points", 0)
    return Points(xyz[keep].astype(np.float32), rgb[keep])
