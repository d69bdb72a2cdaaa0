"""What changes over a training: progress, learning rates, SH degree, resolution, weights of the regularisers.

Everything is a function of the progress p in [0, 1]. With `steps` it is step / steps; with `minutes` it is read off
the clock every few steps, so that the schedules end when the time does, whatever the machine's speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenerep.splats.config import SplatsConfig

_COARSEST_PIXELS = 24_000  # about 200 x 120: below that there is nothing left to see
_COARSE_UNTIL = 0.4
_DEGREE_EVERY = 0.06
_MEANS_FALL = 0.01
_COOL_TO = 0.2


@dataclass(frozen=True)
class Rates:
    """Learning rates of one step, by parameter."""

    means: float
    log_scales: float
    quats: float
    opacity_logits: float
    sh0: float
    sh: float


def rates_at(config: SplatsConfig, progress: float, scene_scale: float) -> Rates:
    """Positions fall exponentially from the first step on, the others linearly at the end."""
    r = config.rates
    cool = np.interp(progress, [r.cool_from, 1.0], [1.0, _COOL_TO])
    return Rates(
        means=r.means * scene_scale * _MEANS_FALL**progress,
        log_scales=r.scales * cool,
        quats=r.quats * cool,
        opacity_logits=r.opacities * cool,
        sh0=r.sh0 * cool,
        sh=r.sh * cool,
    )


def sh_degree_at(config: SplatsConfig, progress: float) -> int:
    """One degree more every 6 %: colours settle before they may depend on the direction."""
    return min(config.sh_degree, int(progress / _DEGREE_EVERY))


def level_count(config: SplatsConfig, pixels: int) -> int:
    """Number of halvings of the resolution at the start."""
    if not config.coarse:
        return 0
    return int(np.clip(np.floor(np.log2(max(pixels, 1) / _COARSEST_PIXELS) / 2), 0, 3))


def level_at(levels: int, progress: float) -> int:
    """Halvings of the resolution at this progress; the finer half of the coarse phase goes to the last halving."""
    if levels == 0 or progress >= _COARSE_UNTIL:
        return 0
    # Shares 1, 2, 4 ... from coarse to fine: a coarse level converges sooner.
    ends = np.cumsum(2.0 ** np.arange(levels))
    return levels - int(np.searchsorted(ends / ends[-1] * _COARSE_UNTIL, progress, side="right"))


def target_count(initial: int, budget: int, progress: float, grow_until: float) -> int:
    """Geometric growth from the initial count to the budget."""
    share = min(progress / grow_until, 1.0) if grow_until > 0 else 1.0
    return min(budget, round(initial * (budget / initial) ** share)) if initial < budget else budget
