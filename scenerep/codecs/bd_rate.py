"""Bjontegaard's difference in rate (VCEG-M33, 2001), with monotone cubic interpolation (PCHIP)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

Curve = Sequence[tuple[float, float]]
"""(rate, quality) of each point."""


def bd_rate(curve: Curve, anchor: Curve) -> tuple[float, float, float] | None:
    """(difference, low, high): mean difference of the curve's rate at equal quality, -0.1 = 10 % less, and the common
    range of qualities it is taken over; None if there is none, or a curve has fewer than two rising points.
    """
    a, b = _rising(curve), _rising(anchor)
    if len(a) < 2 or len(b) < 2:
        return None
    low, high = max(a[0][1], b[0][1]), min(a[-1][1], b[-1][1])
    if high <= low:
        return None
    means = []
    for points in (a, b):
        rates, qualities = np.array(points).T
        means.append(float(PchipInterpolator(qualities, np.log(rates)).integrate(low, high)) / (high - low))
    return float(np.exp(means[0] - means[1]) - 1), low, high


def _rising(curve: Curve) -> list[tuple[float, float]]:
    """Sorted by rate, without points that cost more and give no more."""
    points: list[tuple[float, float]] = []
    for rate, quality in sorted(curve):
        if rate > 0 and np.isfinite(quality) and (not points or quality > points[-1][1]):
            points.append((rate, quality))
    return points
