"""The drawing of `gaussian2d` in plain NumPy, in integers and in floats: what native/image_gaussians.cpp must equal."""

from __future__ import annotations

import numpy as np


def draw(rows: np.ndarray, width: int, height: int) -> np.ndarray:
    """int32 [3, h, w], modulo 2^32, of rows [n, 10]: centre in half px, l11, l22, l21, RGB, half sizes of the box."""
    sums = np.zeros((3, height, width), np.int64)
    for x, y, l11, l22, l21, *colour, wide, high in rows.astype(np.int64).tolist():
        top, bottom = max(0, (y >> 1) - high), min(height, (y >> 1) + high + 1)
        left, right = max(0, (x >> 1) - wide), min(width, (x >> 1) + wide + 1)
        if top >= bottom or left >= right:
            continue
        dy = 2 * np.arange(top, bottom)[:, None] + 1 - y
        dx = 2 * np.arange(left, right)[None, :] + 1 - x
        v = np.clip(l22 * dy >> 7, -5120, 5120)
        u = np.clip((l11 * dx + l21 * dy) >> 7, -5120, 5120)
        t = np.maximum(32768 - (v * v >> 9) - (u * u >> 9), 0)
        for _ in range(3):
            t = t * t >> 15
        sums[:, top:bottom, left:right] += np.array(colour)[:, None, None] * t
    return (sums & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def draw_floats(gaussians: np.ndarray, width: int, height: int) -> np.ndarray:
    """float64 [3, h, w] of Gaussians float [n, 8]: x, y, a, b, k and colours; what the fit differentiates."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    image = np.zeros((3, height, width))
    for cx, cy, a, b, k, *colour in gaussians.astype(np.float64):
        v = (y - cy) * np.exp(-b)
        u = (x - cx) * np.exp(-a) + k * v
        image += np.array(colour)[:, None, None] * np.maximum(1 - (u * u + v * v) / 16, 0) ** 8
    return image
