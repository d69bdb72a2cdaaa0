"""Prediction and transform of `dct` in plain NumPy: the twins of native/image_predict.cpp and image_transform.cpp."""

from __future__ import annotations

import functools
import math

import numpy as np

from scenerep.codecs.dct.prior import KNOTS

SMOOTH, MEAN, FIRST_DIRECTION = 0, 1, 2
DIRECTIONS = 33
FROM_LUMA = FIRST_DIRECTION + DIRECTIONS
MODES = FROM_LUMA + 1

_SLOPES = [round(64 * math.tan(k * math.pi / 32)) for k in range(9)]
_BITS = 12

Edge = tuple[list[int], list[int]]
"""Neighbours (above, left) of a block: 2n + 2 of each, [0] is the corner, the last one is there twice."""


def gather(samples: np.ndarray, done: np.ndarray, x: int, y: int, n: int, middle: int) -> Edge:
    """Neighbours that are there, by the map of decoded squares of 4; others repeat the nearest one."""
    height, width = samples.shape
    places = (
        [(x - 1, y + k) for k in range(2 * n - 1, -1, -1)] + [(x - 1, y - 1)] + [(x + k, y - 1) for k in range(2 * n)]
    )
    found = [
        int(samples[py, px]) if 0 <= px < width and 0 <= py < height and done[py // 4, px // 4] else None
        for px, py in places
    ]
    value = next((f for f in found if f is not None), middle)
    line = []
    for f in found:
        value = value if f is None else f
        line.append(value)
    above, left = line[2 * n :], line[2 * n :: -1]
    return above + above[-1:], left + left[-1:]


def smoothed(edge: Edge, n: int) -> Edge:
    above, left = edge
    corner = (left[1] + 2 * above[0] + above[1] + 2) >> 2

    def side(line: list[int]) -> list[int]:
        inner = [(line[k - 1] + 2 * line[k] + line[k + 1] + 2) >> 2 for k in range(1, 2 * n)]
        return [corner, *inner, line[2 * n], line[2 * n]]

    return side(above), side(left)


def uses_smooth(mode: int, n: int) -> bool:
    if mode in (MEAN, FROM_LUMA) or n == 4:
        return False
    d = mode - FIRST_DIRECTION
    return mode == SMOOTH or min(abs(d - 8), abs(d - 24)) > {8: 6, 16: 1, 32: 0}[n]


def predict(mode: int, n: int, edge: Edge) -> np.ndarray:
    """int64 [n, n], for every mode but FROM_LUMA."""
    above, left = (np.array(line, np.int64) for line in edge)
    k = np.arange(n)
    lg = n.bit_length() - 1
    if mode == SMOOTH:
        across = (n - 1 - k)[None, :] * left[1 : n + 1, None] + (k + 1)[None, :] * above[n + 1]
        down = (n - 1 - k)[:, None] * above[None, 1 : n + 1] + (k + 1)[:, None] * left[n + 1]
        return (across + down + n) >> (lg + 1)
    if mode == MEAN:
        return np.full((n, n), (int(above[1 : n + 1].sum() + left[1 : n + 1].sum()) + n) >> (lg + 1))
    d = mode - FIRST_DIRECTION
    if d <= 16:
        return _direction(left, above, n, 8 - d).T
    return _direction(above, left, n, d - 24)


def _direction(main: np.ndarray, side: np.ndarray, n: int, k: int) -> np.ndarray:
    slope = _SLOPES[k] if k >= 0 else -_SLOPES[-k]
    around = (
        [int(side[min((j * 64 + -slope // 2) // -slope, 2 * n)]) for j in range(n, 0, -1)] if slope < 0 else [0] * n
    )
    line = np.array([*around, *main.tolist()], np.int64)  # line[n] is the corner
    rows = []
    for y in range(n):
        shift = (y + 1) * slope
        i, f = shift >> 6, shift & 63
        start = n + i + 1
        first = line[start : start + n]
        second = line[start + 1 : start + 1 + n]
        rows.append(((64 - f) * first + f * second + 32) >> 6)
    return np.array(rows)


def predict_from_luma(luma: np.ndarray, luma_edge: Edge, edge: Edge) -> np.ndarray:
    """The least-squares line through the neighbours of both planes. luma: [n, n]."""
    n = len(luma)
    x = luma_edge[0][1 : n + 1] + luma_edge[1][1 : n + 1]
    y = edge[0][1 : n + 1] + edge[1][1 : n + 1]
    sx, sy, count = sum(x), sum(y), 2 * n
    over = count * sum(a * a for a in x) - sx * sx
    slope = ((count * sum(a * b for a, b in zip(x, y)) - sx * sy) * 256 + over // 2) // over if over > 0 else 0
    slope = min(max(slope, -1024), 1023)
    offset = (sy * 256 - slope * sx + n) // count
    return (slope * luma.astype(np.int64) + offset + 128) >> 8


@functools.cache
def basis(n: int) -> np.ndarray:
    """int64 [k, i]: the orthonormal DCT-II in 1/4096."""
    k, i = np.mgrid[0:n, 0:n]
    exact = np.sqrt(np.where(k == 0, 1.0, 2.0) / n) * np.cos(math.pi * (2 * i + 1) * k / (2 * n))
    return np.rint(exact * (1 << _BITS)).astype(np.int64)


def inverse_transform(coefficients: np.ndarray, limit: int) -> np.ndarray:
    """int64 [n, n] to residuals, columns first."""
    b = basis(len(coefficients))
    half = 1 << (_BITS - 1)
    columns = np.clip((b.T @ coefficients + half) >> _BITS, -limit, limit)
    return (columns @ b + half) >> _BITS


@functools.cache
def scan(n: int) -> list[tuple[int, int]]:
    """(u, v) in the order of their sum, turning round at each."""
    return [
        (u, d - u)
        for d in range(2 * n - 1)
        for u in (range(d + 1) if d & 1 else range(d, -1, -1))
        if u < n and d - u < n
    ]


def steps(profile: np.ndarray, n: int, plane_step: int) -> np.ndarray:
    """int64 [v, u] in 1/256: linear between KNOTS points over u + v."""
    v, u = np.mgrid[0:n, 0:n]
    radius = (u + v) * 256 * (KNOTS - 1) // (2 * (n - 1))
    k = np.minimum(radius >> 8, KNOTS - 2)
    f = radius - (k << 8)
    wide = profile.astype(np.int64)
    weight = wide[k] * (256 - f) + wide[k + 1] * f
    return np.maximum(1, (plane_step * weight + 8192) >> 14)
