"""Point clouds: PLY, COLMAP's points3D, and what open3d reads (.pcd, .xyz, .xyzrgb, .pts)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenerep.captures import Points
from scenerep.captures.points import points_from_ply
from scenerep.errors import DataError, FormatError
from scenerep.io.ply_header import parse_header

_OPEN3D = (".pcd", ".xyz", ".xyzn", ".xyzrgb", ".pts")


def is_point_cloud(path: Path) -> bool:
    """Whether a file holds points and not Gaussians: by its ending, a PLY by its properties."""
    if path.suffix.lower() in _OPEN3D:
        return True
    with path.open("rb") as file:
        head = file.read(1 << 20)
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
            return points_from_ply(path.read_bytes(), str(path))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    import open3d  # seconds to load

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        cloud = open3d.io.read_point_cloud(path, remove_nan_points=True, remove_infinite_points=True)
    xyz = np.asarray(cloud.points, np.float32).reshape(-1, 3)
    if len(xyz) == 0:
        raise FormatError(path, f"a point cloud as {path.suffix}", "no points that open3d can read")
    colours = np.asarray(cloud.colors, np.float64).reshape(-1, 3)
    grey = np.full((len(xyz), 3), 128, np.uint8)
    return Points(xyz, np.clip(colours * 255 + 0.5, 0, 255).astype(np.uint8) if len(colours) == len(xyz) else grey)
