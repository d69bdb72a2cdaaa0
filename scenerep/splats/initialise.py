"""The first Gaussians: round blobs at sparse points, as wide as the space between neighbours (3DGS, section 5.1)."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from scenerep.captures import Points
from scenerep.errors import DataError
from scenerep.scenes import Gaussians
from scenerep.splats.config import InitConfig

_SH0 = 0.28209479177387814


def neighbour_distance(xyz: np.ndarray, neighbours: int = 3) -> np.ndarray:
    """Root mean square distance of each point [m, 3] to its nearest neighbours [m]; 1 where there is no other point."""
    k = min(neighbours, len(xyz) - 1)
    if k < 1:
        return np.ones(len(xyz))
    distance = KDTree(xyz).query(xyz, k=k + 1)[0][:, 1:]
    return np.sqrt((distance**2).mean(axis=1))


def initial_gaussians(
    points: Points, config: InitConfig, sh_degree: int, scene_scale: float, limit: int, rng: np.random.Generator
) -> Gaussians:
    """At most min(config.points, limit) Gaussians at a random part of the points.

    Raises:
        DataError: Fewer than four points.
    """
    if len(points) < 4:
        raise DataError(
            f"the capture has {len(points)} points to start from, at least 4 are needed",
            "check the poses with `scenerep data check`",
        )
    rows = np.sort(rng.permutation(len(points))[: min(config.points, limit)])
    xyz = points.xyz[rows].astype(np.float64)
    # A lone far point would start as a blob that covers half the view.
    size = np.clip(config.scale * neighbour_distance(xyz), 1e-6 * scene_scale, 0.1 * scene_scale)
    n = len(rows)
    sh = np.zeros((n, (sh_degree + 1) ** 2, 3), dtype=np.float32)
    sh[:, 0] = (points.rgb[rows] / 255.0 - 0.5) / _SH0
    quats = np.zeros((n, 4), dtype=np.float32)
    quats[:, 0] = 1
    logit = np.log(config.opacity / (1 - config.opacity))
    return Gaussians(
        means=xyz,
        log_scales=np.repeat(np.log(size)[:, None], 3, axis=1),
        quats=quats,
        opacity_logits=np.full(n, logit, dtype=np.float32),
        sh=sh,
    )
