"""All decisions for one lambda, on a scene as it stands: steps, what to leave out, how to round. And lambda for a goal.

lambda here is mean squared error (values 0 to 1) per bit; `LAMBDA_UNIT` turns the user's into it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scenerep.coding import QuantisedSplats, Quantiser, quantise, symbol_bits
from scenerep.compress.rdo.config import RdoConfig
from scenerep.compress.rdo.curvature import Arrays, removal_error
from scenerep.compress.rdo.rdoq import optimise_sh
from scenerep.compress.rdo.steps import fixed_steps, steps_for
from scenerep.scenes import Gaussians

LAMBDA_UNIT = 1.0 / (255.0**2 * 1e6)


@dataclass(frozen=True)
class Decision:
    """quantised: the Gaussians kept. keep: bool [n] of the scene's. bits: of each kept one, float64. error: mean
    squared error that the decisions are expected to add (removals before fine-tuning)."""

    quantised: QuantisedSplats
    keep: np.ndarray
    bits: np.ndarray
    error: float
    lambda_: float

    @property
    def bytes(self) -> float:
        return float(self.bits.sum()) / 8


def decide(
    scene: Gaussians,
    x: Arrays,
    h: Arrays,
    lambda_: float,
    config: RdoConfig,
    canonical: bool,
    *,
    remaining: float = 1.0,
    most: float = 1.0,
    quantiser: Quantiser | None = None,
    caution: float | None = None,
    outliers: float = 1.0,
) -> Decision:
    """What to do with a scene at a lambda.

    Args:
        scene: With unit quaternions, in the form that `canonical` says.
        x, h: Its coded numbers and their curvatures.
        remaining: Share of a removal's error that fine-tuning will leave.
        most: Share of the Gaussians that may be removed at most.
        quantiser: Steps to use; chosen by lambda if None.
        caution: See RdoConfig, whose value it is if None.
        outliers: Quantile of the Gaussians' curvatures that none counts for more than, in the choice of the steps.
    """
    degree = min(config.sh_degree, scene.sh_degree)
    if quantiser is None:
        choose = steps_for if config.search else fixed_steps
        quantiser = choose(x, _bounded(h, outliers) if outliers < 1 else h, lambda_, canonical, degree)
    q = quantise(scene, quantiser)
    if config.rdoq:
        q = optimise_sh(q, x, h, lambda_ / (config.caution if caution is None else caution))
    bits = sum(part.astype(np.float64) for part in symbol_bits(q).values())
    assert isinstance(bits, np.ndarray)
    keep = np.ones(len(scene), dtype=bool)
    lost = removal_error(x, h)
    if config.prune:
        worth = lost * remaining - lambda_ * bits
        keep = worth >= 0
        allowed = int(most * len(scene))
        if np.count_nonzero(~keep) > allowed:
            keep[:] = True
            keep[np.argpartition(worth, allowed)[:allowed]] = False
        if not keep.any():
            keep[int(np.argmax(lost))] = True
    error = quantisation_error(q, x, h, keep) + float(lost[~keep].sum())
    return Decision(q.select(keep), keep, bits[keep], error, lambda_)


def _bounded(h: Arrays, quantile: float) -> Arrays:
    """Curvatures of which no Gaussian has more than the quantile of all has, in sum over each array's columns."""
    out = {}
    for name, a in h.items():
        totals = a.reshape(len(a), -1).sum(axis=1)
        share = np.minimum(1.0, np.quantile(totals, quantile) / np.maximum(totals, 1e-30)).astype(a.dtype)
        out[name] = a * share.reshape(-1, *(1,) * (a.ndim - 1))
    return out


def quantisation_error(q: QuantisedSplats, x: Arrays, h: Arrays, keep: np.ndarray) -> float:
    """Mean squared error that the integers are expected to give, by the curvature."""
    s, k = q.quantiser, q.sh.shape[1]
    chroma = [s.colour_luma, s.colour_chroma, s.colour_chroma]
    decoded = {
        "positions": s.expand(np.array(s.origin) + q.positions * s.position),
        "log_scales": q.log_scales * s.log_scale,
        "rotations": q.rotations * s.rotation,
        "opacities": q.opacities * s.opacity,
        "colours": q.colours * chroma,
        "sh": q.sh * s.sh_steps(),
    }
    total = 0.0
    for name, values in decoded.items():
        truth, weight = (a[name][:, :k] if name == "sh" else a[name] for a in (x, h))
        total += float((weight * (truth - values) ** 2)[keep].sum())
    if k < x["sh"].shape[1]:
        total += float((h["sh"][:, k:] * x["sh"][:, k:] ** 2)[keep].sum())
    return total


def solve(
    measure: Callable[[float], float], goal: float, start: float, *, tolerance: float, most: int = 14
) -> tuple[float, float]:
    """The lambda at which a growing function of it meets a goal: bisection of its logarithm, steps by secant.

    Returns: lambda and what was measured there; the nearest found with measure <= goal if there is one.
    """
    low: tuple[float, float] | None = None
    high: tuple[float, float] | None = None
    at, best = start, None
    for _ in range(most):
        value = measure(at)
        if best is None or _rank(value, goal) < _rank(best[1], goal):
            best = (at, value)
        if goal * (1 - tolerance) <= value <= goal:
            break
        if value > goal:
            high = (at, value)
        else:
            low = (at, value)
        if low is None:
            at /= 2 if value < 1.5 * goal else 4 if value < 4 * goal else 32
        elif high is None:
            at *= 2 if value > goal / 1.5 else 4 if value > goal / 4 else 32
        else:
            share = (np.log(goal * (1 - tolerance / 2)) - np.log(max(low[1], 1e-30))) / (
                np.log(high[1]) - np.log(max(low[1], 1e-30))
            )
            at = float(np.exp(np.interp(np.clip(share, 0.1, 0.9), [0, 1], np.log([low[0], high[0]]))))
    assert best is not None
    return best


def _rank(value: float, goal: float) -> tuple[bool, float]:
    return value > goal, abs(np.log(max(value, 1e-30) / goal))
