from __future__ import annotations

import numpy as np
import pytest

from scenerep.errors import ConfigError
from scenerep.voxels.grid import Rates
from scenerep.voxels.mip_grid import MipGrid
from scenerep.voxels.pyramid import Pyramid
from scenerep.voxels.space import Space

BOX = np.array([[-1.0] * 3, [1.0] * 3])
SPACE = Space((17, 17, 17), BOX)
WHITE = np.ones(3, np.float32)


def looking_down(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    origins = np.column_stack([rng.uniform(-0.9, 0.9, (n, 2)), np.full(n, -3.0)]).astype(np.float32)
    return origins, np.tile(np.array([0, 0, 1], np.float32), (n, 1))


def test_levels_have_half_the_cells() -> None:
    sizes = [level.size for level in Pyramid(SPACE, 3, 7, -1).levels]
    assert sizes == [(17, 17, 17), (9, 9, 9), (5, 5, 5)]
    with pytest.raises(ConfigError, match="halved"):
        Pyramid(SPACE, 6, 7, -1)


@pytest.mark.parametrize(("width", "level"), [(0.5, 0.0), (1.0, 0.0), (2.0, 1.0), (3.0, np.log2(3)), (50.0, 2.0)])
def test_a_sample_lies_between_the_levels_that_fit_its_pixel(width: float, level: float) -> None:
    """Each level is one colour: what comes out tells the level that went in."""
    pyramid = Pyramid(SPACE, 3, 7, -1)
    for k, part in enumerate(pyramid.levels):
        values = np.zeros((len(part.values), 8), np.float32)
        values[:, 0], values[:, 1] = 30, k
        part.put(np.arange(len(values)), values)
    pyramid.mark_dense()
    distance = 2.0  # from the origin to the box, where a ray ends at once
    radii = np.array([width * SPACE.voxel / 2 / distance], np.float32)
    origin, direction = np.array([[0.1, 0.1, -3]], np.float32), np.array([[0, 0, 1]], np.float32)
    drawn = pyramid.draw(origin, direction, radii)
    assert drawn.alpha[0] > 0.99
    seen = -np.log(1 / (drawn.features[0, 0] / drawn.alpha[0]) - 1)
    assert seen == pytest.approx(level, abs=0.03)


def test_gradients_go_to_both_levels_in_their_shares(rng: np.random.Generator) -> None:
    pyramid = Pyramid(SPACE, 2, 7, -1)
    origins, directions = looking_down(50, rng)
    radii = np.full(50, 2**0.25 * SPACE.voxel / 2 / 3.0, np.float32)  # about a quarter of level 1
    features, _, _ = pyramid.march(origins, directions, radii, seed=0, open_all=True)
    pyramid.learn(np.ones_like(features), np.zeros(50, np.float32), np.zeros(16, np.float32), np.zeros(16, np.float32))
    # With rates of zero nothing moves, but the moments hold the gradients.
    fine, coarse = (float(np.abs(level.moments()[1][:, 1]).sum()) for level in pyramid.levels)
    assert coarse / (fine + coarse) == pytest.approx(0.25, abs=0.15)


def _stripes(origins: np.ndarray) -> np.ndarray:
    """Stripes, seen without perspective."""
    on = (origins[:, 0] * 2 % 1 < 0.5).astype(np.float32)
    return np.repeat(on[:, None], 3, axis=1)


def test_wide_pixels_see_the_mean_and_narrow_ones_the_detail(rng: np.random.Generator) -> None:
    grid = MipGrid(SPACE, 3, rng)
    rates = Rates(density=0.3, colour=0.2)
    for step in range(200):
        origins, directions = looking_down(256, rng)
        wide = rng.random(256) < 0.5
        targets = np.where(wide[:, None], 0.5, _stripes(origins)).astype(np.float32)
        radii = np.where(wide, 4.0, 0.5).astype(np.float32) * np.float32(SPACE.voxel / 2 / 2.0)
        grid.train_step(
            origins, directions, targets, radii=radii, background=WHITE, rates=rates, network_rate=2e-3, seed=step
        )
    grid.update_occupancy()
    origins, directions = looking_down(300, rng)

    def error(width: float, targets: np.ndarray | float) -> float:
        radii = np.full(300, width * SPACE.voxel / 2 / 2.0, np.float32)
        return float(np.mean((grid.render(origins, directions, WHITE, radii).rgb - targets) ** 2))

    assert error(4.0, 0.5) < 0.01
    assert error(0.5, _stripes(origins)) < 0.5 * error(4.0, _stripes(origins))


def test_a_state_and_a_scene_are_the_same_grid(rng: np.random.Generator) -> None:
    grid = MipGrid(SPACE, 3, rng)
    rates = Rates(density=0.3, colour=0.2)

    def learn(one: MipGrid, step: int) -> None:
        origins, directions = looking_down(128, np.random.default_rng(step))
        radii = np.full(128, 0.1, np.float32)
        options = {"radii": radii, "background": WHITE, "rates": rates, "network_rate": 2e-3, "seed": step}
        one.train_step(origins, directions, _stripes(origins), **options)

    for step in range(40):
        learn(grid, step)
    grid.update_occupancy()
    again = MipGrid.from_state(*grid.state())
    for step in range(40, 45):
        learn(grid, step)
        learn(again, step)
    for a, b in zip(grid.pyramid.levels, again.pyramid.levels, strict=True):
        np.testing.assert_array_equal(a.values, b.values)

    origins, directions = looking_down(100, rng)
    radii = np.full(100, 0.1, np.float32)
    drawn = MipGrid.from_scene(grid.scene()).render(origins, directions, WHITE, radii)
    np.testing.assert_array_equal(drawn.rgb, grid.render(origins, directions, WHITE, radii).rgb)


def test_a_finer_pyramid_takes_over_the_levels(rng: np.random.Generator) -> None:
    pyramid = Pyramid(SPACE, 3, 7, -1)
    for level in pyramid.levels:
        level.put(np.arange(len(level.values)), rng.normal(size=(len(level.values), 8)).astype(np.float32))
    fine = pyramid.resized((33, 33, 33))
    np.testing.assert_allclose(fine.levels[1].values, pyramid.levels[0].values, atol=1e-6)
    np.testing.assert_allclose(fine.levels[2].values, pyramid.levels[1].values, atol=1e-6)
