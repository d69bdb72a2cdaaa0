from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from scenerep.errors import ConfigError
from scenerep.voxels.grid import Grid, Rates, Smoothing
from scenerep.voxels.pyramid import CHANNELS
from scenerep.voxels.space import SHIFT, Space

BOX = np.array([[-1.0] * 3, [1.0] * 3])
RATES = Rates(density=0.2, colour=0.1)
BLACK = np.zeros(3, np.float32)


def rays(rng: np.random.Generator, n: int = 256) -> tuple[np.ndarray, np.ndarray]:
    origins = rng.normal(0, 1, (n, 3))
    origins *= 3 / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = rng.uniform(-0.7, 0.7, (n, 3)) - origins
    return origins.astype(np.float32), (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(
        np.float32
    )


def ball(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """What a red ball of radius 0.5 on black looks like."""
    along = -np.einsum("ni,ni->n", origins, directions)
    distance = np.linalg.norm(origins + along[:, None] * directions, axis=1)
    return (np.array([0.9, 0.1, 0.2]) * (distance < 0.5)[:, None]).astype(np.float32)


def trained(rng: np.random.Generator, steps: int = 150, **options) -> Grid:
    grid = Grid(Space((25, 25, 25), BOX, options.pop("contracted", False)))
    for step in range(steps):
        origins, directions = rays(rng)
        targets = ball(origins, directions)
        grid.train_step(origins, directions, targets, background=BLACK, rates=RATES, seed=step, **options)
        if step % 32 == 31:
            grid.update_occupancy()
    return grid


@pytest.mark.parametrize("contracted", [False, True])
def test_it_learns_a_ball(contracted: bool, rng: np.random.Generator) -> None:
    grid = trained(rng, contracted=contracted)
    origins, directions = rays(rng)
    drawn = grid.render(origins, directions, BLACK)
    assert np.mean((drawn.rgb - ball(origins, directions)) ** 2) < 0.01
    hit = ball(origins, directions)[:, 0] > 0
    assert np.median(np.abs(drawn.median_depth[hit] - drawn.depth[hit])) < 0.3
    assert 2.3 < np.median(drawn.depth[hit]) < 3


def test_empty_cells_are_skipped_and_can_come_back(rng: np.random.Generator) -> None:
    grid = trained(rng)
    grid.update_occupancy()
    assert 0 < len(grid) < 0.8 * 25**3
    origins, directions = rays(rng)
    options = {"background": BLACK, "rates": RATES}
    few = grid.train_step(origins, directions, ball(origins, directions), **options).samples
    many = grid.train_step(origins, directions, ball(origins, directions), open_all=True, **options).samples
    assert few < 0.8 * many
    # Empty space turns opaque where the pictures ask for it, through steps that march everywhere.
    closed = len(grid)
    for step in range(60):
        origins, directions = rays(rng)
        white = np.ones_like(origins)
        grid.train_step(origins, directions, white, open_all=True, seed=step, **options)
    grid.update_occupancy()
    assert len(grid) > closed


def test_smoothing_pulls_neighbours_together(rng: np.random.Generator) -> None:
    def roughness(grid: Grid) -> float:
        cube = grid.values[:, 0].reshape(25, 25, 25)
        return float(np.mean(np.diff(cube, axis=0) ** 2))

    plain = trained(np.random.default_rng(1), 60)
    smooth = trained(np.random.default_rng(1), 60, smoothing=Smoothing(density=1e-3, colour=1e-3))
    assert roughness(smooth) < 0.8 * roughness(plain)


def test_only_what_rays_touch_moves(rng: np.random.Generator) -> None:
    grid = Grid(Space((25, 25, 25), BOX))
    origin, direction = np.array([[-3.0, 0.01, 0.01]], np.float32), np.array([[1.0, 0, 0]], np.float32)
    result = grid.train_step(origin, direction, np.ones((1, 3), np.float32), background=BLACK, rates=RATES)
    moved = (grid.values != 0).any(axis=1)
    assert result.touched == moved.sum() == 25 * 4
    assert (grid.values[:, 13:] == 0).all()


def test_a_state_is_the_same_grid(rng: np.random.Generator) -> None:
    grid = trained(rng, 70)
    arrays, about = grid.state()
    again = Grid.from_state(arrays, about)
    for step in range(5):
        origins, directions = rays(np.random.default_rng(step))
        for one in (grid, again):
            one.train_step(origins, directions, ball(origins, directions), background=BLACK, rates=RATES, seed=step)
    np.testing.assert_array_equal(grid.values, again.values)


def test_a_scene_draws_the_same_picture_with_fewer_vertices(rng: np.random.Generator) -> None:
    grid = trained(rng)
    scene = grid.scene()
    assert 0 < len(scene) < 25**3
    origins, directions = rays(rng)
    a = grid.render(origins, directions, BLACK)
    b = Grid.from_scene(scene).render(origins, directions, BLACK)
    np.testing.assert_array_equal(a.rgb, b.rgb)


def test_a_finer_grid_is_the_same_field(rng: np.random.Generator) -> None:
    grid = trained(rng)
    origins, directions = rays(rng)
    fine = grid.resized((49, 49, 49))
    np.testing.assert_allclose(
        grid.render(origins, directions, BLACK).rgb, fine.render(origins, directions, BLACK).rgb, atol=0.12
    )
    difference = grid.render(origins, directions, BLACK).rgb - fine.render(origins, directions, BLACK).rgb
    assert np.mean(difference**2) < 3e-4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_untouched_parts_cost_no_memory() -> None:
    """A grid of 512^3 vertices would take 8.6 GB, and four times that in training."""
    code = """
import numpy as np
from scenerep.voxels.grid import Grid, Rates
from scenerep.voxels.space import Space
grid = Grid(Space((512, 512, 512), np.array([[-1.0] * 3, [1.0] * 3])))
o = np.array([[-3.0, 0.01, 0.01]], np.float32)
d = np.array([[1.0, 0, 0]], np.float32)
grid.train_step(o, d, np.ones((1, 3), np.float32), background=np.zeros(3, np.float32), rates=Rates(0.1, 0.1))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 2e9


def test_a_new_grid_is_nearly_empty(rng: np.random.Generator) -> None:
    grid = Grid(Space((25, 25, 25), BOX))
    assert np.exp(SHIFT) < 1e-3
    origins, directions = rays(rng)
    assert grid.values.shape == (25**3, CHANNELS)
    assert (grid.render(origins, directions, BLACK).alpha < 0.2).all()


def test_degrees_that_are_not() -> None:
    with pytest.raises(ConfigError, match="degree"):
        Grid(Space((3, 3, 3), BOX), sh_degree=2)
