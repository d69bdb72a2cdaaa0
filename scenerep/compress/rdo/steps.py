"""Quantiser steps for a lambda: the classical balance of D(step) against R(step).

A uniform quantiser of step d has the error d^2 / 12 and N numbers lose N / (d ln 2) bits per unit of d, so with H the
sum of the curvatures, d(H d^2 / 12 - lambda N log2 d) = 0 gives d^2 = 6 lambda N / (H ln 2) (Gish and Pierce 1968).
Most SH values are smaller than a step and cost next to nothing: only those that survive count in N.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scenerep.coding import Quantiser, focus_of, grid_for
from scenerep.coding.quantiser import contract
from scenerep.compress.rdo.curvature import Arrays

# Finer or coarser than this gains nothing: values of the quantisers of SPZ and SOG lie well within.
_LIMITS = {
    "log_scale": (1 / 256, 0.6),
    "rotation": (1 / 512, 0.4),
    "opacity": (1 / 1024, 1 / 6),
    "colour_luma": (1 / 1024, 1 / 12),
    "colour_chroma": (1 / 1024, 1 / 8),
    "sh": (1 / 1024, 0.6),
}
_SAMPLE = 20_000  # Gaussians, evenly drawn: enough for sums over all of them
_FINEST_GRID = 2**18
_FIXED = {"log_scale": 0.12, "rotation": 0.08, "opacity": 1 / 64, "colour": 1 / 64, "sh": 0.08}


def steps_for(x: Arrays, h: Arrays, lambda_: float, canonical: bool, sh_degree: int) -> Quantiser:
    """The steps that balance error and bits.

    Args:
        x, h: Coded numbers and their curvatures.
        lambda_: Mean squared error per bit.
    """
    grid = _Grid(x, h)
    every = max(1, len(x["positions"]) // _SAMPLE)
    x, h = ({name: a[::every] for name, a in arrays.items()} for arrays in (x, h))

    def step(name: str, values: np.ndarray, weights: np.ndarray, sparse: bool = False) -> float:
        low, high = _LIMITS[name]
        total = max(float(weights.sum()), 1e-30)
        count = float(np.count_nonzero(weights))
        found = high
        for _ in range(8 if sparse else 1):
            found = float(np.clip(np.sqrt(6 * lambda_ * max(count, 1.0) / (total * np.log(2))), low, high))
            if sparse:
                alive = np.abs(values) > 0.6 * found
                count = max(float(np.count_nonzero(alive & (weights > 0))), 0.01 * weights.size)
                total = max(float(weights[alive].sum()), 1e-30)
        return found

    luma, chroma = [], []
    for band in range(1, sh_degree + 1):
        part = slice(band * band - 1, (band + 1) ** 2 - 1)
        luma.append(step("sh", x["sh"][:, part, 0], h["sh"][:, part, 0], sparse=True))
        chroma.append(step("sh", x["sh"][:, part, 1:], h["sh"][:, part, 1:], sparse=True))
    position = np.sqrt(6 * lambda_ * np.count_nonzero(grid.weights) / (grid.weights.sum() * np.log(2)))
    return Quantiser(
        **grid.options(position),
        log_scale=step("log_scale", x["log_scales"], h["log_scales"]),
        rotation=step("rotation", x["rotations"], h["rotations"]),
        opacity=step("opacity", x["opacities"], h["opacities"]),
        colour_luma=step("colour_luma", x["colours"][:, 0], h["colours"][:, 0]),
        colour_chroma=step("colour_chroma", x["colours"][:, 1:], h["colours"][:, 1:]),
        sh_luma=tuple(luma),
        sh_chroma=tuple(chroma),
        canonical=canonical,
    )


def fixed_steps(x: Arrays, h: Arrays, lambda_: float, canonical: bool, sh_degree: int) -> Quantiser:
    """Steps in fixed proportions, scaled together until the error's slope by the bits is lambda."""
    grid = _Grid(x, h)
    base = {"positions": grid.extent / 2**14, "log_scales": _FIXED["log_scale"], "rotations": _FIXED["rotation"]}
    base |= {"opacities": _FIXED["opacity"], "colours": _FIXED["colour"], "sh": _FIXED["sh"]}
    weights = h | {"positions": grid.weights}
    total = sum(float(weights[name].sum()) * step**2 for name, step in base.items())
    count = sum(np.count_nonzero(h[name]) for name in base if name != "sh")
    scale = float(np.sqrt(6 * lambda_ * count / (max(total, 1e-30) * np.log(2))))
    return Quantiser(
        **grid.options(base["positions"] * scale),
        log_scale=base["log_scales"] * scale,
        rotation=min(base["rotations"] * scale, 0.4),
        opacity=min(base["opacities"] * scale, 1 / 6),
        colour_luma=base["colours"] * scale,
        colour_chroma=2 * base["colours"] * scale,
        sh_luma=(base["sh"] * scale,) * sh_degree,
        sh_chroma=(2 * base["sh"] * scale,) * sh_degree,
        canonical=canonical,
    )


class _Grid:
    """The space that positions are coded in: contracted beyond the middle of the scene.

    weights [n, 3]: curvatures in that space, in which one step is dx/du = max(1, |x - centre| / radius) as wide.
    """

    def __init__(self, x: Arrays, h: Arrays) -> None:
        self._means = x["positions"]
        self._centre, self._radius = focus_of(self._means)
        places = contract(self._means, self._centre, self._radius)
        self.extent = max(float(np.ptp(places, axis=0).max()), 1e-6) if len(places) else 1.0
        stretch = np.maximum(np.abs(self._means - self._centre) / self._radius, 1)
        self.weights = np.maximum(h["positions"] * stretch**2, 1e-30)

    def options(self, position: float) -> dict[str, Any]:
        """Those of the Quantiser, for a step."""
        position = float(np.clip(position, self.extent / _FINEST_GRID, self.extent / 256))
        origin, depth = grid_for(self._means, position, centre=self._centre, radius=self._radius)
        return {
            "origin": origin,
            "position": position,
            "depth": depth,
            "centre": self._centre,
            "radius": self._radius,
        }
