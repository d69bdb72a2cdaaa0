"""What changes over a training: the grid's resolution, the learning rates, the smoothing.

Everything is a function of the progress p in [0, 1], as for splats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scenerep.voxel_training.config import VoxelsConfig
from scenerep.voxels.grid import Rates, Smoothing
from scenerep.voxels.space import Space

_COARSEST = 40  # voxels along the side of a cube of the first grid's volume


@dataclass(frozen=True)
class Stage:
    """begin: The progress from which the grid has this resolution."""

    begin: float
    space: Space


def stages(config: VoxelsConfig, space: Space) -> list[Stage]:
    """From the coarsest grid to `space`, each twice as fine; the time of a stage is twice that of the one before."""
    size = np.array(space.size)
    halvings = halvings_of(np.prod(size - 1.0) ** (1 / 3))
    ends = np.cumsum(2.0 ** np.arange(halvings))
    begins = [0.0, *(config.grow_until * ends / ends[-1])] if halvings else [0.0]
    sizes = [np.maximum(2, np.round((size - 1) / 2.0 ** (halvings - k)).astype(int) + 1) for k in range(halvings)]
    grown = [replace(space, size=tuple(int(n) for n in s)) for s in sizes]
    return [Stage(float(begin), at) for begin, at in zip(begins, [*grown, space], strict=True)]


def halvings_of(resolution: float) -> int:
    """How often a grid of so many voxels a side is halved for the first stage."""
    return int(np.clip(np.floor(np.log2(resolution / _COARSEST)), 0, 4))


def rates_at(config: VoxelsConfig, progress: float) -> Rates:
    """Both rates fall exponentially."""
    fall = config.rates.fall**progress
    return Rates(density=config.rates.density * fall, colour=config.rates.colour * fall)


def smoothing_at(config: VoxelsConfig, every: int) -> Smoothing:
    """For a step that smooths for `every` steps. Constant: what rays touch is smoothed as often as it is touched."""
    return Smoothing(density=every * config.smooth.density, colour=every * config.smooth.colour)
