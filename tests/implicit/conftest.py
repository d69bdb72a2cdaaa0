"""A small picture and a small closed mesh."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import trimesh


@pytest.fixture(scope="session")
def picture_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 x 48 pixels of smooth colours with an edge."""
    y, x = np.mgrid[0:48, 0:64] / 48.0
    waves = np.stack([np.sin(6 * x), np.cos(5 * y + x), np.sin(4 * x * y)], axis=-1) / 2 + 0.5
    waves[(x - 0.6) ** 2 + (y - 0.5) ** 2 < 0.05] = [0.9, 0.2, 0.1]
    path = tmp_path_factory.mktemp("picture") / "waves.png"
    iio.imwrite(path, np.round(255 * waves).astype(np.uint8))
    return path


@pytest.fixture(scope="session")
def mesh_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A torus away from the origin: closed, with a hole, longer than high."""
    mesh = trimesh.creation.torus(major_radius=2.0, minor_radius=0.7, major_sections=48, minor_sections=24)
    mesh.apply_translation([10, -3, 1])
    path = tmp_path_factory.mktemp("mesh") / "torus.ply"
    mesh.export(path)
    return path
