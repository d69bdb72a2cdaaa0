"""The native march as functions of torch: for grids that are tensors, and for fields that are written in torch.

`march_grid` takes the grid as a tensor and gives it gradients. `sample_rays` and `composite` are the two ends of the
same march around any other field: where the samples are, and what becomes of their densities and features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenerep.errors import ConfigError
from scenerep.voxels.pyramid import CHANNELS, LEAST_TRANSMITTANCE, STEP, make_marcher
from scenerep.voxels.space import OPTICAL, Space

Occupancy = tuple[np.ndarray, np.ndarray] | None
"""Cells and blocks that are marched through (Grid.occupancy); None: all."""


def march_grid(
    values: Float[Tensor, "vertices 16"],
    space: Space,
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    *,
    sh_degree: int = 1,
    step: float = STEP,
    seed: int | None = None,
    occupancy: Occupancy = None,
    least_transmittance: float = LEAST_TRANSMITTANCE,
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """(rgb on black, alpha, depth) of rays; rgb and alpha give gradients to `values`, and to nothing else.

    Args:
        values: float32 on the CPU, C order: z slowest, x fastest; the last channel takes no gradient.
        directions: Of length 1.
        seed: Of the offset of each ray's first sample; None: half a step.
        least_transmittance: A ray ends where less is left.

    Raises: ConfigError for tensors of another type, device or shape.
    """
    options = _Options(3, sh_degree, step, seed, occupancy, least_transmittance)
    _check([values], space)
    rgb, alpha, depth = _March.apply(space, origins, directions, None, options, values)
    return rgb, alpha, depth


def march_levels(
    levels: Sequence[Float[Tensor, "vertices 16"]],
    space: Space,
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    radii: Float[Tensor, " n"],
    *,
    features: int,
    step: float = STEP,
    seed: int | None = None,
    occupancy: Occupancy = None,
    least_transmittance: float = LEAST_TRANSMITTANCE,
) -> tuple[Float[Tensor, "n f"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """(sums of features, alpha, depth) of rays through a pyramid; arguments as in `march_grid`.

    Args:
        levels: The finest first, each with half the cells along every side.
        radii: Half a pixel's width at distance 1.
        features: Channels after the density, each through the logistic function.
    """
    options = _Options(features, -1, step, seed, occupancy, least_transmittance)
    _check(levels, space)
    found, alpha, depth = _March.apply(space, origins, directions, radii, options, *levels)
    return found, alpha, depth


@dataclass(frozen=True)
class _Options:
    features: int
    degree: int
    step: float
    seed: int | None
    occupancy: Occupancy
    least: float


def _check(levels: Sequence[Tensor], space: Space) -> None:
    for k, values in enumerate(levels):
        if values.dtype != torch.float32 or values.device.type != "cpu":
            raise ConfigError("the native march needs float32 values on the CPU", "move them: values.cpu().float()")
        size = tuple(((n - 1) >> k) + 1 for n in space.size)
        if values.shape != (int(np.prod(size)), CHANNELS):
            raise ConfigError(f"values have the shape {tuple(values.shape)}, the grid {size} needs [nx ny nz, 16]")


class _March(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        space: Space,
        origins: Tensor,
        directions: Tensor,
        radii: Tensor | None,
        options: _Options,
        *levels: Any,
    ) -> tuple:
        held = [values.detach().contiguous().numpy() for values in levels]
        record = any(values.requires_grad for values in levels)
        gradients = [np.zeros(h.shape, np.float32) if record else None for h in held]
        sizes = [[((n - 1) >> k) + 1 for n in space.size] for k in range(len(levels))]
        arrays = [(h, g, None, None, None, size) for h, g, size in zip(held, gradients, sizes, strict=True)]
        marcher = make_marcher(space, options.step, arrays, options.features, options.degree, np.inf)
        n = len(origins)
        found, alpha = np.empty((n, options.features), np.float32), np.empty(n, np.float32)
        depth = np.empty(n, np.float32)
        cells, blocks = options.occupancy or (None, None)
        o, d = (x.detach().cpu().contiguous().float().numpy() for x in (origins, directions))
        r = None if radii is None else radii.detach().cpu().contiguous().float().numpy()
        jitter = (options.seed is not None, options.seed or 0)
        marcher.forward(o, d, r, cells, blocks, record, *jitter, options.least, 0.0, found, alpha, depth, None)
        ctx.kept = marcher, held, gradients
        out = tuple(torch.from_numpy(x) for x in (found, alpha, depth))
        ctx.mark_non_differentiable(out[2])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple:
        marcher, _, levels = ctx.kept
        marcher.backward(gradients[0].contiguous().numpy(), gradients[1].contiguous().numpy())
        marcher.accumulate()
        return (None, None, None, None, None, *(torch.from_numpy(level) for level in levels))


@dataclass(frozen=True)
class Samples:
    """The samples of a batch of rays, one ray after the other.

    ray: int64 [s]. t: float32 [s], distance from the ray's origin. ends: int64 [n], of each ray's samples.
    tau: Optical length of a sample of density 1.
    """

    ray: Int[Tensor, " s"]
    t: Float[Tensor, " s"]
    ends: Int[Tensor, " n"]
    tau: float


def sample_rays(
    space: Space,
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    *,
    step: float = STEP,
    seed: int | None = None,
    occupancy: Occupancy = None,
) -> Samples:
    """Where rays are sampled; arguments as in `march_grid`. Rays are not ended early."""
    count = int(np.prod(space.size))
    # The march looks at nothing but the sizes here; one row of values stands for all of them.
    marcher = make_marcher(space, step, [(None, None, None, None, None, list(space.size))], 3, 0, np.inf)
    o, d = (x.detach().cpu().contiguous().float().numpy() for x in (origins, directions))
    cells, blocks = occupancy or (None, None)
    if cells is not None and len(cells) != count:
        raise ConfigError(f"the occupancy has {len(cells)} cells, the grid {count}")
    ends = np.empty(len(o), np.int64)
    total = marcher.places(o, d, cells, blocks, seed is not None, seed or 0, ends, None)
    t = np.empty(total, np.float32)
    marcher.places(o, d, cells, blocks, seed is not None, seed or 0, ends, t)
    ray = np.repeat(np.arange(len(o)), np.diff(ends, prepend=0))
    tau = step * OPTICAL * space.inner_voxel
    return Samples(torch.from_numpy(ray), torch.from_numpy(t), torch.from_numpy(ends), tau)


def composite(
    samples: Samples, density: Float[Tensor, " s"], features: Float[Tensor, "s c"]
) -> tuple[Float[Tensor, "n c"], Float[Tensor, " n"]]:
    """(sum of weight times features, alpha) of each ray; NeRF (Mildenhall et al., ECCV 2020), eq. 3.

    Args:
        density: >= 0, in the units of `space.OPTICAL`.
    """
    n = len(samples.ends)
    # In float64: the sum runs over the samples of all rays.
    through = torch.cat([density.new_zeros(1, dtype=torch.float64), (density.double() * samples.tau).cumsum(0)])
    begins = torch.cat([samples.ends.new_zeros(1), samples.ends[:-1]])
    before = torch.exp(-(through[:-1] - through[begins][samples.ray]))
    weights = (before * -torch.expm1(-density.double() * samples.tau)).to(density)
    rgb = features.new_zeros(n, features.shape[1]).index_add(0, samples.ray, weights[:, None] * features)
    alpha = density.new_zeros(n).index_add(0, samples.ray, weights)
    return rgb, alpha
