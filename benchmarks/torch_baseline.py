"""The torch baseline: what a plain per-tile implementation with autograd does, as fast as that sensibly gets.

It is the specification reference with one difference: the intermediates of all tiles are kept for autograd, where the
reference computes every tile anew in its backward pass to bound its memory. All tiles are gathered and scattered at
once, so that autograd adds one [n, ...] gradient per parameter and not one per tile.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scenerep.geometry.cameras import Camera
from scenerep.render import reference
from scenerep.render.projection import colours, project, visible_order


def rasterize_kept(params: Sequence[Tensor], camera: Camera) -> Tensor:
    """Picture [h, w, 3] over black. params: means, log scales, quats, opacity logits, SH of degree 3."""
    means, log_scales, quats, logits, sh = params
    pose = torch.from_numpy(camera.camera_from_world).to(means.dtype)
    with torch.no_grad():
        index = visible_order(project(means, log_scales, quats, logits, camera, pose, False), camera)
    ellipses = project(means[index], log_scales[index], quats[index], logits[index], camera, pose, False)
    values = colours(means[index], sh[index], pose, 3)
    tiles = list(reference._Tiles(ellipses, camera, 16))
    counts = [len(ids) for _, _, ids in tiles]
    ids = torch.cat([ids for _, _, ids in tiles])
    parts = [a[ids].split(counts) for a in (ellipses.centres, ellipses.conics, ellipses.opacities, values)]
    blended, pixels = [], []
    for i, (rows, columns, _) in enumerate(tiles):
        blended.append(reference._blend_tile(rows, columns, *(part[i] for part in parts)).image.reshape(-1, 3))
        y, x = torch.meshgrid(
            torch.arange(rows.start, rows.stop), torch.arange(columns.start, columns.stop), indexing="ij"
        )
        pixels.append((y * camera.width + x).reshape(-1))
    flat = torch.zeros(camera.height * camera.width, 3, dtype=means.dtype)
    return flat.index_copy(0, torch.cat(pixels), torch.cat(blended)).reshape(camera.height, camera.width, 3)
