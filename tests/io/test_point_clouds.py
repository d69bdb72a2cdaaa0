"""Point clouds of other tools."""

from __future__ import annotations

from pathlib import Path

import laspy
import numpy as np
import pytest

from scenerep.errors import FormatError
from scenerep.io.point_clouds import is_point_cloud, read_points

XYZ = np.array([[1.25, -2.5, 3.0], [0.0, 0.01, -7.0], [100.5, 3.0, 2.0]])


def _las(path: Path, colours: np.ndarray | None) -> Path:
    cloud = laspy.create(point_format=3 if colours is not None else 1, file_version="1.2")
    cloud.header.scales = [0.01] * 3
    cloud.xyz = XYZ
    if colours is not None:
        cloud.red, cloud.green, cloud.blue = colours.T
    cloud.write(path)
    return path


@pytest.mark.parametrize("ending", ["las", "laz"])
@pytest.mark.parametrize("unit", [1, 257])  # 8 bits in fields of 16, and all 16
def test_las(tmp_path: Path, ending: str, unit: int) -> None:
    rgb = np.array([[0, 128, 255], [9, 8, 7], [200, 0, 31]], np.uint16)
    path = _las(tmp_path / f"cloud.{ending}", rgb * unit)
    assert is_point_cloud(path)
    points = read_points(path)
    np.testing.assert_allclose(points.xyz, XYZ, atol=1e-5)
    np.testing.assert_array_equal(points.rgb, rgb)


def test_las_without_colours(tmp_path: Path) -> None:
    assert (read_points(_las(tmp_path / "grey.las", None)).rgb == 128).all()


@pytest.mark.parametrize("ending", ["las", "laz"])
def test_broken_las(tmp_path: Path, ending: str) -> None:
    data = _las(tmp_path / f"cloud.{ending}", None).read_bytes()
    broken = tmp_path / f"broken.{ending}"
    for size in (4, 50, 200):
        broken.write_bytes(data[:size])
        with pytest.raises(FormatError, match="LAS"):
            read_points(broken)
    hostile = bytearray(data)
    hostile[107:111] = b"\xff\xff\xff\x7f"  # the count
    broken.write_bytes(bytes(hostile))
    with pytest.raises(FormatError):
        read_points(broken)
