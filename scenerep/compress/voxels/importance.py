"""How much an error of a voxel's values changes the pictures: the diagonal of J^T J, J the rays' colours by the values.

Hutchinson's estimate (1990): with signs v drawn at random, the squares of J^T v have that diagonal as their mean. One
backward pass of the march gives J^T v for all values at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scenerep.coding.voxels import Importance, columns
from scenerep.compress.views import Views
from scenerep.geometry.rays import camera_rays
from scenerep.scenes import MipVoxels, Voxels
from scenerep.voxels.grid import Grid
from scenerep.voxels.mip_grid import MipGrid
from scenerep.voxels.shading import shade, shade_backward

_VIEWS = 40
_RAYS = 40_000  # of a view
_LEAST = 1e-12


def importance(
    scene: Voxels | MipVoxels, views: Views, rng: np.random.Generator, progress: Any = None
) -> tuple[tuple[Importance, ...], int]:
    """(for each level, the number of rays): sums over the rays of squared slopes, mean over a group's columns.

    Args:
        progress: Called as progress(done, total).
    """
    grid = Grid.from_scene(scene) if isinstance(scene, Voxels) else MipGrid.from_scene(scene)
    indices = (scene.index,) if isinstance(scene, Voxels) else scene.indices
    width = 13 if isinstance(scene, Voxels) else 8
    squares = [np.zeros((len(index), width)) for index in indices]
    chosen, rays = views.some(_VIEWS), 0
    pyramid = grid.pyramid
    pyramid.occupancy = pyramid.cells_to_draw()
    marcher = pyramid.bound()
    for done, number in enumerate(chosen):
        camera = views.target(number).camera
        count = camera.width * camera.height
        pixels = np.sort(rng.choice(count, min(count, _RAYS), replace=False))
        origins, directions = camera_rays(camera, pixels)
        radii = np.full(len(pixels), 0.5 / camera.fx, np.float32) if grid.wants_radii else None
        features, alpha, _ = pyramid.march(origins, directions, radii, seed=number, open_all=False, least_weight=0.0)
        signs = rng.choice(np.array([-1, 1], np.float32), (len(pixels), 3))
        d_alpha = -(signs * views.background).sum(axis=1)
        if isinstance(grid, MipGrid):
            weights = grid.optimiser.weights
            shaded = shade(weights, features, alpha, directions)
            d_features, added, _ = shade_backward(weights, shaded, signs)
            d_alpha = d_alpha + added
        else:
            d_features = signs
        marcher.backward(np.ascontiguousarray(d_features, np.float32), np.ascontiguousarray(d_alpha, np.float32))
        marcher.accumulate()
        for level, index, square in zip(pyramid.levels, indices, squares, strict=True):
            gradients = level.moments()[0]
            square += gradients[index, :width].astype(np.float64) ** 2
            gradients[index] = 0
        rays += len(pixels)
        if progress is not None:
            progress(done + 1, len(chosen))
    used = scene.values.shape[1] if isinstance(scene, Voxels) else width
    found = []
    for square in squares:
        parts = {name: square[:, part].mean(axis=1) + _LEAST for name, part in columns(used).items()}
        parts.setdefault("detail", np.full(len(square), _LEAST))
        found.append(Importance(**parts))
    return tuple(found), rays
