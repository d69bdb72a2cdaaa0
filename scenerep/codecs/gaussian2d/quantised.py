"""Gaussians as the integers that a file holds, and what they mean. n = Gaussians.

Columns: x, y in units of `cell` half pixels; a, b: sizes in quarters of an octave; k: tilt in quarters; y, co, cg:
colours in steps of their own, added to the background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SIZE_STEP = math.log(2) / 4
TILT_STEP = 0.25
SMALLEST, LARGEST = -4, 36
"""Of a and b: half a pixel to 512 pixels."""
TILT = 24
COLOUR = 1 << 12
COLOURS = np.array([[1, 1, -1], [1, 0, 1], [1, -1, -1]], np.int64)
"""RGB = COLOURS (y, co, cg)."""
# 65536 * 2^(-j / 4), rounded: no product comes near a half.
_QUARTERS = (65536, 55109, 46341, 38968)


@dataclass(frozen=True)
class Quantised:
    """values: int32 [n, 8]. steps: of luma and chroma in 1/8 of a level. background: RGB of 0 to 255."""

    width: int
    height: int
    cell: int
    steps: tuple[int, int]
    background: tuple[int, int, int]
    values: np.ndarray


def rows_of(q: Quantised) -> np.ndarray:
    """int32 [n, 10]: what the decoder draws, see native/image_gaussians.cpp. Integers only."""
    v = q.values.astype(np.int64)
    l11, l22 = _inverse(v[:, 2]), _inverse(v[:, 3])
    l21 = v[:, 4] * l22 >> 2
    levels = np.stack([v[:, 5] * q.steps[0], v[:, 6] * q.steps[1], v[:, 7] * q.steps[1]], axis=1) @ COLOURS.T
    # Four sigmas: wide = 4 sqrt(1 + (k / 4)^2) / l11, down = 4 / l22, both rounded up and one more.
    tilted = np.array([math.isqrt(16 + int(k) ** 2) + 1 for k in v[:, 4]], np.int64).reshape(-1)
    across = tilted * 65536 // l11 + 2
    down = 4 * 65536 // l22 + 2
    rows = np.column_stack([v[:, 0] * q.cell, v[:, 1] * q.cell, l11, l22, l21, levels, across, down])
    return rows.astype(np.int32)


def covered(q: Quantised, rows: np.ndarray) -> int:
    """Pixels of all boxes together: the work of drawing them."""
    r = rows.astype(np.int64)
    x, y = r[:, 0] >> 1, r[:, 1] >> 1
    wide = np.minimum(q.width, x + r[:, 8] + 1) - np.maximum(0, x - r[:, 8])
    high = np.minimum(q.height, y + r[:, 9] + 1) - np.maximum(0, y - r[:, 9])
    return int((np.maximum(wide, 0) * np.maximum(high, 0)).sum())


def to_pixels(q: Quantised, sums: np.ndarray, deep: bool, channels: int) -> np.ndarray:
    """Sums int32 [3, h, w] in 1/2^18 of a level to uint8 or uint16 [h, w, channels]."""
    scale = 257 if deep else 1
    wide = (sums.astype(np.int64) + (np.array(q.background, np.int64)[:, None, None] << 18)) * scale
    pixels = ((wide + (1 << 17)) >> 18).clip(0, 65535 if deep else 255)
    return np.ascontiguousarray(pixels[:channels].astype(np.uint16 if deep else np.uint8).transpose(1, 2, 0))


def from_floats(g: np.ndarray, q: Quantised) -> np.ndarray:
    """float [n, 8] (x, y in px, a, b, k, RGB above the background) to int32 [n, 8], cut to what a file takes."""
    half = 2 / q.cell
    colours = g[:, 5:].astype(np.float64) @ np.linalg.inv(COLOURS).T * 255 * 8
    v = np.column_stack([
        np.clip(np.rint(g[:, 0] * half), 0, 2 * q.width // q.cell),
        np.clip(np.rint(g[:, 1] * half), 0, 2 * q.height // q.cell),
        np.clip(np.rint(g[:, 2:4] / SIZE_STEP), SMALLEST, LARGEST),
        np.clip(np.rint(g[:, 4] / TILT_STEP), -TILT, TILT),
        np.rint(colours / [q.steps[0], q.steps[1], q.steps[1]]).clip(-COLOUR, COLOUR),
    ])  # fmt: skip
    return v.astype(np.int32)


def to_floats(values: np.ndarray, q: Quantised) -> np.ndarray:
    """The inverse: float32 [n, 8]."""
    colours = values[:, 5:] * np.array([q.steps[0], q.steps[1], q.steps[1]]) @ COLOURS.T / (255 * 8)
    return np.column_stack([
        values[:, :2] * (q.cell / 2),
        values[:, 2:4] * SIZE_STEP,
        values[:, 4] * TILT_STEP,
        colours,
    ]).astype(np.float32)  # fmt: skip


def _inverse(size: np.ndarray) -> np.ndarray:
    """65536 exp(-size SIZE_STEP) by whole octaves and a table of quarters."""
    octaves, quarter = size >> 2, size & 3
    base = np.array(_QUARTERS, np.int64)[quarter]
    return np.where(octaves >= 0, base >> np.maximum(octaves, 0), base << np.maximum(-octaves, 0))
