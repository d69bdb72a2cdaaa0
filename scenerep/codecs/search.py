"""A codec's quality knob turned until the file has the size or the PSNR that was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """One attempt: the knob's position and what came of it."""

    knob: float
    payload: bytes
    value: float


def search(attempt: Callable[[float], Trial], target: float, low: float, high: float, tolerance: float) -> Trial:
    """The attempt whose value is nearest to the target, at most 12 attempts.

    Args:
        attempt: From a knob's position; the value rises with it.
        low, high: Ends of the knob; if the target lies beyond one, that one is taken.
        tolerance: The search ends when the value is this near.
    """
    best: Trial | None = None
    below: Trial | None = None
    above: Trial | None = None
    knob = 0.5 * (low + high)
    for _ in range(12):
        trial = attempt(knob)
        if best is None or abs(trial.value - target) < abs(best.value - target):
            best = trial
        if abs(trial.value - target) <= tolerance:
            break
        if trial.value < target:
            below = trial
        else:
            above = trial
        left, right = below.knob if below else low, above.knob if above else high
        if right - left < 1e-4 * (high - low) or (knob in (low, high) and not (below and above)):
            break
        knob = _next(below, above, target, low, high)
    assert best is not None
    return best


def _next(below: Trial | None, above: Trial | None, target: float, low: float, high: float) -> float:
    """Between two attempts by a straight line, kept off their ends; without a second one, further out."""
    if below and above:
        share = (target - below.value) / (above.value - below.value) if above.value > below.value else 0.5
        share = min(max(share, 0.08), 0.92)
        return below.knob + share * (above.knob - below.knob)
    if below:
        return min(high, below.knob + 0.5 * (high - below.knob) + 1e-3 * (high - low))
    assert above is not None
    return max(low, above.knob - 0.5 * (above.knob - low) - 1e-3 * (high - low))


def log_size(payload: bytes) -> float:
    """Sizes on the scale on which they are searched."""
    return math.log(max(1, len(payload)))
