"""Gaussians fitted to a picture by Adam: first freely, then as the file will round them (straight through)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from scenerep.codecs.gaussian2d.quantised import SIZE_STEP, Quantised, from_floats, to_floats
from scenerep.native import native

_RATES = np.array([1.25, 1.25, 0.15, 0.15, 0.15, 0.03, 0.03, 0.03], np.float32)
_ROUNDED_FROM = 0.45  # share of the steps after which the forward pass sees what the file will say
_ADDED = (0.12, 0.24, 0.34)  # shares at which a part of the Gaussians comes where the error is
_LIMITS = 2 * SIZE_STEP, 32 * SIZE_STEP  # of sizes while fitting


@dataclass
class _Adam:
    """Kingma, Ba 2015, a row at a time."""

    mean: np.ndarray
    square: np.ndarray
    step: int = 0

    def move(self, gradient: np.ndarray, rate: np.ndarray) -> np.ndarray:
        self.step += 1
        self.mean += 0.1 * (gradient - self.mean)
        self.square += 0.01 * (gradient**2 - self.square)
        unbiased = self.mean / (1 - 0.9**self.step)
        return rate * unbiased / (np.sqrt(self.square / (1 - 0.99**self.step)) + 1e-12)


def fit(
    target: np.ndarray,
    count: int,
    shape: Quantised,
    steps: int,
    rng: np.random.Generator,
    start: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """`count` Gaussians, int32 [count, 8].

    Args:
        target: float32 [3, h, w], 0 to 1.
        shape: Steps and background; its values are not used.
        start: float32 [count, 8] to begin with; then none are added on the way, and all steps see rounded values.
    """
    background = np.empty_like(target)
    background[:] = np.array(shape.background, np.float32)[:, None, None] / 255
    adding = start is None
    shares = [0.4, 0.2, 0.2, 0.2]
    parts = [int(count * share) for share in shares]
    parts[0] += count - sum(parts)
    g = start.copy() if start is not None else _placed(target, background, parts.pop(0), rng, _detail(target))
    adam = _Adam(np.zeros_like(g), np.zeros_like(g))
    waiting = [int(share * steps) for share in _ADDED] if adding else []
    for i in range(steps):
        share = i / steps
        rounded = not adding or share >= _ROUNDED_FROM
        seen = to_floats(from_floats(g, shape), shape) if rounded else g
        image, gradient, _ = native().gaussians2d_differentiate(seen, target, background)
        if waiting and i == waiting[0]:
            waiting.pop(0)
            new = parts.pop(0)
            if new:
                error = gaussian_filter(((image - target) ** 2).sum(axis=0), 1.0)
                g = np.concatenate([g, _placed(target, image, new, rng, error, len(g) + new)])
                grown = np.zeros((new, 8), np.float32)
                adam.mean, adam.square = (np.concatenate([m, grown]) for m in (adam.mean, adam.square))
                continue
        decay = 1.0 if share < 0.5 else 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * (share - 0.5) / 0.5))
        if not adding:
            decay = 0.3 * (1 - share) + 0.02
        rate = _RATES * np.float32(decay)
        # Positions and sizes move in proportion to a Gaussian's own size.
        move = adam.move(gradient, rate)
        move[:, :2] *= np.exp(0.5 * (g[:, 2] + g[:, 3]))[:, None] * 0.3
        g -= move
        g[:, 2:4] = g[:, 2:4].clip(*_LIMITS)
        g[:, 4] = g[:, 4].clip(-5, 5)
        g[:, 0] = g[:, 0].clip(0, shape.width)
        g[:, 1] = g[:, 1].clip(0, shape.height)
        if progress:
            progress(i + 1, steps)
    return from_floats(g, shape)


def _detail(target: np.ndarray) -> np.ndarray:
    """Where there is something to draw: the gradient's size, lightly smoothed."""
    dy, dx = np.gradient(target.mean(axis=0)) if min(target.shape[1:]) > 1 else (np.zeros(target.shape[1:]),) * 2
    return gaussian_filter(np.sqrt(dx**2 + dy**2), 1.5)


def _placed(
    target: np.ndarray, image: np.ndarray, count: int, rng: np.random.Generator, density: np.ndarray, total: int = 0
) -> np.ndarray:
    """Round Gaussians drawn by a density (a quarter anywhere), as large as the gaps, with half of what is missing."""
    width = target.shape[2]
    p = density.astype(np.float64).ravel()
    p = p / p.sum() if p.sum() > 0 else np.full(p.size, 1 / p.size)
    p = 0.75 * p + 0.25 / p.size
    at = rng.choice(p.size, count, p=p)
    y, x = at // width, at % width
    gap = np.sqrt(1 / (p[at] * max(total, count)))
    size = np.log(np.clip(0.5 * gap, 1.0, 64.0))
    colours = 0.5 * (target - image)[:, y, x].T
    places = np.column_stack([x + 0.5, y + 0.5])
    return np.column_stack([places, size, size, np.zeros(count), colours]).astype(np.float32)
