"""Voxels as splats, at once and without training: what a live view shows, and what distilling starts from."""

from __future__ import annotations

import numpy as np

from scenerep.scenes import Gaussians, MipVoxels, Voxels
from scenerep.voxels.space import base_colours, opacities, space_of, vertex_positions

_SH_C0 = 0.28209479177387814
_WIDTH = 0.6  # standard deviation in voxels: neighbours overlap to a closed surface
_MOST = 200_000
_LEAST_OPACITY = 0.05


def voxels_as_splats(scene: Voxels | MipVoxels, most: int = _MOST) -> Gaussians:
    """One round Gaussian for each vertex that is not nearly transparent, in its mean colour.

    Args:
        most: Of more than these, the most opaque ones.
    """
    opacity = opacities(scene)
    chosen = np.flatnonzero(opacity > _LEAST_OPACITY)
    if len(chosen) > most:
        chosen = np.sort(chosen[np.argsort(-opacity[chosen], kind="stable")[:most]])
    space = space_of(scene)
    positions = vertex_positions(scene)[chosen]
    logit = np.clip(opacity[chosen], 0.01, 0.99)
    n = len(chosen)
    return Gaussians(
        means=positions.astype(np.float32),
        log_scales=np.log(_WIDTH * space.voxel_at(positions))[:, None].repeat(3, 1).astype(np.float32),
        quats=np.tile(np.array([1, 0, 0, 0], np.float32), (n, 1)),
        opacity_logits=np.log(logit / (1 - logit)).astype(np.float32),
        sh=((base_colours(scene)[chosen] - 0.5) / _SH_C0)[:, None, :].astype(np.float32),
    )
