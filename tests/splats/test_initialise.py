"""The first Gaussians."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scenerep.captures import Points
from scenerep.errors import DataError
from scenerep.geometry.cameras import Camera
from scenerep.render import render
from scenerep.splats.config import InitConfig
from scenerep.splats.initialise import initial_gaussians, neighbour_distance

CONFIG = InitConfig(points=10_000)


def _points(rng, count):
    return Points(rng.normal(size=(count, 3)).astype(np.float32), rng.integers(0, 256, (count, 3)).astype(np.uint8))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 40])
def test_neighbour_distance_equals_all_pairs(count, rng):
    xyz = rng.normal(size=(count, 3))
    distance = np.sort(np.linalg.norm(xyz[:, None] - xyz[None], axis=2), axis=1)[:, 1:4]
    np.testing.assert_allclose(neighbour_distance(xyz), np.sqrt((distance**2).mean(axis=1)))


def test_neighbour_distance_of_a_grid_is_its_step():
    grid = np.stack(np.meshgrid(*[np.arange(5) * 0.3] * 3), axis=-1).reshape(-1, 3)
    np.testing.assert_allclose(neighbour_distance(grid), 0.3)


def test_neighbour_distance_without_neighbours():
    assert neighbour_distance(np.zeros((1, 3))).tolist() == [1.0]
    assert neighbour_distance(np.zeros((0, 3))).size == 0


def test_shapes_sizes_and_opacity(rng):
    points = _points(rng, 200)
    scene = initial_gaussians(points, CONFIG, 2, 100.0, 1000, rng)
    assert len(scene) == 200
    assert scene.sh_degree == 2
    np.testing.assert_array_equal(scene.means, points.xyz)  # in their order, as all of them are taken
    expected = CONFIG.scale * neighbour_distance(points.xyz.astype(np.float64))
    np.testing.assert_allclose(np.exp(scene.log_scales), np.repeat(expected[:, None], 3, axis=1), rtol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-scene.opacity_logits)), CONFIG.opacity, rtol=1e-5)
    np.testing.assert_array_equal(scene.quats, np.tile([1, 0, 0, 0], (200, 1)))


def test_colours_are_those_of_the_points(rng):
    """Seen through the renderer: one opaque blob, whose middle must have the point's colour from everywhere."""
    points = _points(rng, 6)
    scene = initial_gaussians(points, replace(CONFIG, opacity=0.999), 3, 1.0, 10, rng)
    for i in range(6):
        camera = Camera(200.0, 200.0, 4.5, 4.5, 9, 9)
        pose = np.eye(4)
        pose[:3, 3] = points.xyz[i] - [0, 0, 2]
        blob = replace(scene.select(np.array([i])), log_scales=np.full((1, 3), -1.0, np.float32))
        seen = render(blob, replace(camera, world_from_camera=pose)).rgb[4, 4] * 255
        np.testing.assert_allclose(seen, points.rgb[i] * 0.999, atol=0.1)


def test_limits(rng):
    points = _points(rng, 100)
    known = {tuple(p) for p in points.xyz}
    for config, limit, expected in ((CONFIG, 30, 30), (replace(CONFIG, points=20), 30, 20), (CONFIG, 1000, 100)):
        scene = initial_gaussians(points, config, 0, 1.0, limit, rng)
        assert len(scene) == expected
        chosen = {tuple(p) for p in scene.means}
        assert len(chosen) == expected  # all different
        assert chosen <= known


def test_deterministic(rng):
    points = _points(rng, 100)
    a, b, c = (initial_gaussians(points, CONFIG, 0, 1.0, 30, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.means, b.means)
    assert np.any(a.means != c.means)


def test_awkward_points_stay_finite(rng):
    same = Points(np.ones((10, 3), np.float32), np.zeros((10, 3), np.uint8))
    scene = initial_gaussians(same, CONFIG, 0, 3.0, 100, rng)
    assert np.isfinite(scene.log_scales).all()
    xyz = np.concatenate([rng.normal(size=(20, 3)), [[1e6, 0, 0]]])
    lone = Points(xyz.astype(np.float32), np.zeros((21, 3), np.uint8))
    assert np.exp(initial_gaussians(lone, CONFIG, 0, 3.0, 100, rng).log_scales.max()) <= 3.0


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_points(count, rng):
    with pytest.raises(DataError, match=rf"{count} points .* at least 4") as caught:
        initial_gaussians(_points(rng, count), CONFIG, 0, 1.0, 100, rng)
    assert caught.value.hint
