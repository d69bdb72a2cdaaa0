"""The march through a voxel grid in plain torch: slow, differentiable by autograd, the specification of voxel.h.

A ray is sampled at distances t_0 < t_1 < ... from its origin. The first is `near`, or where the ray enters the box,
plus an offset in [0, 1) steps; a step is `step` voxels within the inner box, and n^2 times that where the contraction
(space.py) has n > 1, so that along a ray from the centre it is the same length of grid everywhere. A ray ends with the
box, or at n > 1000.

At each sample the sixteen channels are interpolated trilinearly. Density: exp(x) for x < 0, 1 + x above,
x = raw + SHIFT. alpha_i = 1 - exp(-density_i tau), tau = OPTICAL times the step in inner coordinates. Colour: the
logistic function of the SH sum in the ray's direction (real SH in the 3DGS sign convention). Weights
w_i = alpha_i prod_{j<i} (1 - alpha_j) as in NeRF (Mildenhall et al., ECCV 2020, eq. 3);
rgb = sum w_i c_i + (1 - sum w_i) background.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scenerep.voxels.pyramid import NEAR, STEP
from scenerep.voxels.space import OPTICAL, SHIFT, Space

_FARTHEST = 1000.0
_SH0, _SH1 = 0.28209479177387814, 0.4886025119029199


def distances(space: Space, origin: np.ndarray, direction: np.ndarray, offset: float, step: float = STEP) -> np.ndarray:
    """float64 [m]: where a ray is sampled. offset in [0, 1)."""
    o = (np.asarray(origin, np.float64) - space.centre) / space.half
    d = np.asarray(direction, np.float64) / space.half
    begin, end = NEAR * float(space.half.min()), np.inf
    if not space.contracted:
        with np.errstate(divide="ignore"):
            a, b = (-1 - o) / d, (1 - o) / d
        begin, end = max(begin, np.minimum(a, b).max()), np.maximum(a, b).min()
    if not begin < end:
        return np.zeros(0)

    def stretch(t: float) -> float:
        n = float(np.abs(o + t * d).max())
        return n * n if space.contracted and n > 1 else 1.0

    found = []
    t = begin + offset * step * space.voxel * stretch(begin)
    while t < end and not (space.contracted and np.abs(o + t * d).max() > _FARTHEST):
        found.append(t)
        t += step * space.voxel * stretch(t)
    return np.array(found)


def interpolate(values: Float[Tensor, "nz ny nx c"], grid: Float[Tensor, "m 3"]) -> Float[Tensor, "m c"]:
    """Trilinear interpolation at places (x, y, z) in units of vertices; held at the border beyond it."""
    size = torch.tensor(values.shape[2::-1])
    base = torch.minimum(grid.detach().floor().long().clamp(min=0), size - 2)
    f = (grid - base).clamp(0, 1)
    out = values.new_zeros(len(grid), values.shape[3])
    for corner in range(8):
        bits = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2])
        x, y, z = (base + bits).unbind(1)
        weight = torch.where(bits.bool(), f, 1 - f).prod(1)
        out = out + weight[:, None] * values[z, y, x]
    return out


def colours(coefficients: Float[Tensor, "m k3"], directions: Float[Tensor, "*m 3"]) -> Float[Tensor, "m 3"]:
    """Colours in (0, 1) of SH coefficients [k, 3], k = 1 or 4, seen along one direction or a direction each."""
    x, y, z = directions.unbind(-1)
    basis = torch.stack([torch.full_like(x, _SH0), -_SH1 * y, _SH1 * z, -_SH1 * x], dim=-1)
    sh = coefficients.reshape(len(coefficients), coefficients.shape[1] // 3, 3)
    return torch.sigmoid((basis[..., : sh.shape[1], None] * sh).sum(1))


def density(raw: Tensor) -> Tensor:
    """exp(x) for x < 0, 1 + x above."""
    x = raw + SHIFT
    return torch.exp(x.clamp(max=0)) + x.clamp(min=0)


def march(
    values: Float[Tensor, "nz ny nx c"],
    space: Space,
    origins: np.ndarray,
    directions: np.ndarray,
    *,
    sh_degree: int = 1,
    offsets: np.ndarray | float = 0.5,
    step: float = STEP,
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """(rgb on black, alpha, depth) of rays [n, 3], nothing skipped and no ray ended early.

    Args:
        values: Raw density, SH coefficients [k, 3], and whatever more.
        offsets: Of each ray's first sample, in steps.
    """
    tau = step * OPTICAL * space.inner_voxel
    used = 13 if sh_degree else 4
    pixels = []
    for origin, direction, offset in zip(origins, directions, np.broadcast_to(offsets, len(origins)), strict=True):
        t = distances(space, origin, direction, float(offset), step)
        grid = torch.from_numpy(space.to_grid(origin + t[:, None] * direction)).to(values)
        found = interpolate(values, grid)
        passed = torch.exp(-density(found[:, 0]) * tau)
        before = torch.cat([passed.new_ones(1), passed.cumprod(0)])
        weights = before[:-1] - before[1:]
        alpha = weights.sum()
        rgb = weights @ colours(found[:, 1:used], torch.as_tensor(direction).to(values))
        depth = (weights @ torch.from_numpy(t).to(values)) / alpha.clamp(min=1e-12)
        pixels.append((rgb, alpha, depth))
    rgb, alpha, depth = zip(*pixels, strict=True)
    return torch.stack(rgb), torch.stack(alpha), torch.stack(depth)
