"""Pictures of voxel scenes: rays through the pixels, marched through the grid."""

from __future__ import annotations

import weakref

import numpy as np

from scenerep.errors import ConfigError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.rays import camera_rays, ray_lengths
from scenerep.render.types import Backend, Rendered
from scenerep.scenes import MipVoxels, Voxels
from scenerep.voxels.grid import Grid
from scenerep.voxels.mip_grid import MipGrid

_BATCH = 1 << 17  # rays at once

# The dense form of the scene that was drawn last: pictures of one scene come one after the other.
_kept: tuple[weakref.ref[Voxels | MipVoxels], Grid | MipGrid] | None = None


def render_voxels(
    scene: Voxels | MipVoxels | Grid | MipGrid,
    camera: Camera,
    *,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    depth: bool = False,
    median_depth: bool = False,
    backend: Backend = "auto",
) -> Rendered:
    """Draw a voxel scene, or a grid that is being trained; see render.api.render."""
    if backend not in ("auto", "native"):
        raise ConfigError(f"backend={backend!r} does not draw voxels", "use auto or native")
    grid = scene if isinstance(scene, Grid | MipGrid) else _grid(scene)
    behind = np.array(background, np.float32)
    count = camera.width * camera.height
    rgb, alpha = np.empty((count, 3), np.float32), np.empty(count, np.float32)
    mean, median = np.empty(count, np.float32), np.empty(count, np.float32)
    for begin in range(0, count, _BATCH):
        part = slice(begin, min(begin + _BATCH, count))
        origins, directions = camera_rays(camera, np.arange(part.start, part.stop))
        radii = np.full(len(origins), 0.5 / camera.fx, np.float32) if grid.wants_radii else None
        drawn = grid.render(origins, directions, behind, radii)
        rgb[part], alpha[part], mean[part], median[part] = drawn.rgb, drawn.alpha, drawn.depth, drawn.median_depth
    shape = (camera.height, camera.width)
    along_z = 1.0 / ray_lengths(camera)
    return Rendered(
        rgb=rgb.reshape(*shape, 3),
        alpha=alpha.reshape(shape),
        depth=(mean.reshape(shape) * along_z).astype(np.float32) if depth else None,
        median_depth=(median.reshape(shape) * along_z).astype(np.float32) if median_depth else None,
    )


def _grid(scene: Voxels | MipVoxels) -> Grid | MipGrid:
    global _kept
    if _kept is None or _kept[0]() is not scene:
        _kept = None  # before the next one is made: two would not always fit
        grid = Grid.from_scene(scene) if isinstance(scene, Voxels) else MipGrid.from_scene(scene)
        _kept = weakref.ref(scene), grid
    return _kept[1]
