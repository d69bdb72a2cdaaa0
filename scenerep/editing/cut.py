"""Parts of scenes cut away: outside a box or a sphere, and floaters."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from scenerep.errors import ConfigError
from scenerep.scenes import Gaussians


def crop_box(scene: Gaussians, low: np.ndarray | tuple[float, ...], high: np.ndarray | tuple[float, ...]) -> Gaussians:
    """The Gaussians whose centres lie in the box from `low` [3] to `high` [3], the faces included.

    Raises:
        ConfigError: if the box is inside out.
    """
    corners = np.array([low, high], np.float64)
    if not np.all(corners[0] <= corners[1]):
        raise ConfigError(f"the box {corners.tolist()} is inside out", "name the low corner first")
    inside = (scene.means >= corners[0]) & (scene.means <= corners[1])
    return scene.select(np.all(inside, axis=1))


def crop_sphere(scene: Gaussians, middle: np.ndarray | tuple[float, ...], radius: float) -> Gaussians:
    """The Gaussians whose centres are within `radius` of `middle` [3].

    Raises:
        ConfigError: if the radius is not positive.
    """
    if not radius > 0:
        raise ConfigError(f"a sphere of radius {radius:g} holds nothing", "use a positive radius")
    offset = scene.means - np.asarray(middle, np.float64)
    return scene.select(np.einsum("ni,ni->n", offset, offset) <= radius**2)


def remove_floaters(
    scene: Gaussians, *, opacity: float = 0.02, size: float = 0.2, isolation: float = 6.0, neighbours: int = 8
) -> Gaussians:
    """The scene without what hangs in the air or cannot be seen.

    A Gaussian goes if its opacity is below `opacity`, if its largest standard deviation exceeds `size` times the
    scene's extent (the diagonal of the middle 98 % of the centres), or if it is isolated: its mean distance to the
    `neighbours` nearest others exceeds the median of that distance by `isolation` median absolute deviations, both on
    a logarithmic scale, since densities vary by orders of magnitude.
    """
    logit = np.log(opacity / (1 - opacity)) if 0 < opacity < 1 else (-np.inf if opacity <= 0 else np.inf)
    keep = scene.opacity_logits >= logit
    if len(scene):
        low, high = np.percentile(scene.means, [1, 99], axis=0)
        extent = float(np.linalg.norm(high - low))
        if extent > 0:
            keep &= scene.log_scales.max(axis=1) <= np.log(size * extent)
    kept = np.flatnonzero(keep)
    if len(kept) > neighbours:
        points = scene.means[kept].astype(np.float64)
        distance = np.log(KDTree(points).query(points, k=neighbours + 1)[0][:, 1:].mean(axis=1) + 1e-30)
        middle = np.median(distance)
        spread = max(float(np.median(np.abs(distance - middle))), 1e-6)
        kept = kept[distance <= middle + isolation * spread]
    return scene.select(kept)
