"""From a field to the points that splats start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from scenerep.captures import Points
from scenerep.errors import DataError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.rays import camera_rays, ray_lengths
from scenerep.render import render
from scenerep.scenes import MipVoxels, Voxels

_SIDE = 320  # pixels of the longer side of the renders that points are taken from
_OPAQUE = 0.8

Progress = Callable[[str, int, int], None]


def surface_points(
    scene: Voxels | MipVoxels, cameras: Sequence[Camera], count: int, seed: int = 0, progress: Progress | None = None
) -> Points:
    """Points where the field is first opaque, as its cameras see it, in its own colours.

    Args:
        cameras: At least one.
        count: Points in all, evenly from all cameras; fewer where less is opaque.
        progress: Called as progress("looking for surfaces", done, total).

    Raises:
        DataError: if the cameras see nothing opaque.
    """
    rng = np.random.default_rng(seed)
    share = -(-count // len(cameras))
    xyz, rgb = [], []
    for done, camera in enumerate(cameras):
        factor = min(1.0, _SIDE / max(camera.width, camera.height))
        small = camera.resized(max(1, round(camera.width * factor)), max(1, round(camera.height * factor)))
        drawn = render(scene, small, median_depth=True)
        assert drawn.median_depth is not None
        seen = np.flatnonzero((drawn.alpha > _OPAQUE) & (drawn.median_depth > 0))
        seen = seen if len(seen) <= share else np.sort(rng.choice(seen, share, replace=False))
        origins, directions = camera_rays(small, seen)
        along = (drawn.median_depth * ray_lengths(small)).reshape(-1)[seen]
        xyz.append(origins + along[:, None].astype(np.float32) * directions)
        colour = drawn.rgb.reshape(-1, 3)[seen] / drawn.alpha.reshape(-1, 1)[seen]
        rgb.append((np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8))
        if progress is not None:
            progress("looking for surfaces", done + 1, len(cameras))
    points = np.concatenate(xyz)
    if len(points) == 0:
        raise DataError("the cameras see nothing opaque in the field", "train it longer")
    return Points(points.astype(np.float32), np.concatenate(rgb))
