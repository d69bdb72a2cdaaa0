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


def search(
    attempt: Callable[[float], Trial], target: float, low: float, high: float, tolerance: float, slope: float
) -> Trial:
    """The attempt whose value is nearest to the target, at most 12 attempts.

    Args:
        attempt: From a knob's position; the value rises with it.
        low, high: Ends of the knob; if the target lies beyond one, that one is taken.
        tolerance: The search ends when the value is this near.
        slope: About how much the value rises by a unit of the knob; where there are not yet attempts on both sides.
    """
    best: Trial | None = None
    below: Trial | None = None
    above: Trial | None = None
    knob = low + 0.4 * (high - low)
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
        knob = min(max(_next(below, above, target, slope), low), high)
    assert best is not None
    return best


def _next(below: Trial | None, above: Trial | None, target: float, slope: float) -> float:
    """Between two attempts by a straight line, kept off their ends; with one, by the slope."""
    if below and above:
        share = (target - below.value) / (above.value - below.value) if above.value > below.value else 0.5
        return below.knob + min(max(share, 0.08), 0.92) * (above.knob - below.knob)
    one = below or above
    assert one is not None
    # A little further than the line says, to have the target between two attempts; not so little as to stand still.
    step = 1.1 * (target - one.value) / slope
    return one.knob + (step if abs(step) > 0.5 else 0.5 if step > 0 else -0.5)


def log_size(payload: bytes) -> float:
    """Sizes on the scale on which they are searched."""
    return math.log(max(1, len(payload)))
