"""Meshes: the surface of a ball of Gaussians is a ball, in every file that we write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from rendered_capture import ring

from scenerep.errors import ConfigError, DataError
from scenerep.meshes.config import MeshConfig
from scenerep.meshes.surface import extract_mesh, scene_points
from scenerep.meshes.write import write_mesh
from scenerep.scenes import Gaussians

MIDDLE = np.array([0.5, 0.0, 2.0])


def ball(n: int = 3000) -> Gaussians:
    """Opaque Gaussians on a sphere of radius 1, red on the right (x above the middle), green on the left."""
    i = np.arange(n) + 0.5
    z, angle = 1 - 2 * i / n, i * np.pi * (3 - np.sqrt(5))
    d = np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], axis=1)
    rgb = np.where(d[:, :1] > 0, [[0.9, 0.1, 0.1]], [[0.1, 0.9, 0.1]])
    quats = np.tile([1.0, 0, 0, 0], (n, 1))
    return Gaussians(d + MIDDLE, np.full((n, 3), np.log(0.03)), quats, np.full(n, 6.0), (rgb[:, None] - 0.5) / 0.28209)


def cameras():
    views = ring(10, size=(160, 120)) + ring(6, height=-2.5, size=(160, 120)) + ring(6, height=3.0, size=(160, 120))
    return [replace(camera, fx=170.0, fy=170.0) for camera in views]


@pytest.mark.parametrize("method", ["tsdf", "poisson"])
def test_the_surface_of_a_ball(method: str, tmp_path: Path) -> None:
    config = MeshConfig(method=method, resolution=64, faces=5000)
    mesh = extract_mesh(ball(), cameras(), config)
    vertices = np.asarray(mesh.vertices)
    radius = np.linalg.norm(vertices - MIDDLE, axis=1)
    assert 1000 < len(mesh.triangles) <= 5000
    # The surface lies where half of the light is gone: within two standard deviations of the shell of centres.
    assert abs(np.median(radius) - 1) < 0.06
    assert np.percentile(np.abs(radius - 1), 95) < 0.12
    covered = (vertices - MIDDLE) / radius[:, None]
    assert all((covered @ axis).max() > 0.9 for axis in np.vstack([np.eye(3), -np.eye(3)]))
    colours = np.asarray(mesh.vertex_colors)
    right = vertices[:, 0] > MIDDLE[0] + 0.2
    assert np.mean(colours[right, 0] > colours[right, 1]) > 0.95
    outward = np.einsum("ni,ni->n", np.asarray(mesh.vertex_normals), covered)
    assert np.mean(outward > 0) > 0.95

    for ending in ("glb", "ply", "obj"):
        write_mesh(mesh, tmp_path / f"mesh.{ending}")
        loaded = trimesh.load(tmp_path / f"mesh.{ending}", force="mesh", process=False)
        assert len(loaded.faces) == len(mesh.triangles)
        turn = [-1, -1, 1] if ending == "glb" else [1, 1, 1]
        np.testing.assert_allclose(np.sort(loaded.vertices[:, 0]), np.sort(vertices[:, 0] * turn[0]), atol=1e-5)
        assert np.asarray(loaded.visual.vertex_colors)[:, :3].std() > 20
    with pytest.raises(DataError, match="no mesh format"):
        write_mesh(mesh, tmp_path / "mesh.stl")


def test_what_has_no_surface_is_refused() -> None:
    faint = replace(ball(), opacity_logits=np.full(3000, -9.0))
    with pytest.raises(DataError, match="no surface"):
        extract_mesh(faint, cameras(), MeshConfig(resolution=32))
    with pytest.raises(ConfigError, match="cameras"):
        extract_mesh(ball(), [], MeshConfig())


def test_points() -> None:
    xyz, rgb = scene_points(ball(50))
    assert len(xyz) == 50
    assert {tuple(row) for row in rgb.tolist()} <= {(230, 25, 25), (25, 230, 25)}
    assert len(scene_points(replace(ball(50), opacity_logits=np.full(50, -4.0)))[0]) == 0
