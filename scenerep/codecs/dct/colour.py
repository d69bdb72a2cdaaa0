"""Colours as three planes that have little in common, and back in integers.

The inverse is a matrix M of integers: RGB = M (p0, p1, p2) / 4096. A plane's error counts in RGB by the norm of its
column, so its step is the picture's step over that norm.
"""

from __future__ import annotations

import math

import numpy as np

GREY, YCBCR, YCOCG, OWN = range(4)
ONE = 4096
_FIXED = {
    YCBCR: ((4096, 0, 5743), (4096, -1410, -2925), (4096, 7258, 0)),
    YCOCG: ((4096, 4096, -4096), (4096, 0, 4096), (4096, -4096, -4096)),
}


def matrix_of(kind: int, entries: bytes = b"") -> np.ndarray:
    """int64 [3, 3] of a kind; OWN has nine signed bytes in 1/64, row by row."""
    if kind == OWN:
        return np.frombuffer(entries, np.int8).reshape(3, 3).astype(np.int64) * (ONE // 64)
    return np.array(_FIXED[kind], np.int64)


def norms_of(matrix: np.ndarray) -> list[int]:
    """Norms of the columns in 1/4096, rounded down."""
    return [math.isqrt(int((matrix[:, j] ** 2).sum())) for j in range(3)]


def to_planes(pixels: np.ndarray, matrix: np.ndarray | None, scale: int) -> np.ndarray:
    """[h, w, c] -> float32 [c, h, w], samples times `scale`."""
    values = pixels.astype(np.float32) * scale
    if matrix is not None:
        values = values @ np.linalg.inv(matrix / ONE).T.astype(np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def to_pixels(planes: np.ndarray, matrix: np.ndarray | None, scale: int, most: int) -> np.ndarray:
    """int32 [c, h, w] -> uint8 or uint16 [h, w, c]; integers only."""
    if matrix is None:
        values = (planes.astype(np.int64) + scale // 2) // scale
    else:
        wide = planes.astype(np.int64)
        half = ONE * scale // 2
        rows = [(wide[0] * m[0] + wide[1] * m[1] + wide[2] * m[2] + half) // (ONE * scale) for m in matrix.tolist()]
        values = np.stack(rows)
    dtype = np.uint8 if most < 256 else np.uint16
    return np.ascontiguousarray(values.clip(0, most).astype(dtype).transpose(1, 2, 0))


def choose(pixels: np.ndarray) -> tuple[int, bytes]:
    """The kind of planes whose differences between neighbours are coded in the fewest bits, and its entries.

    A plane costs the logarithm of its steps' size, measured in RGB: variance times squared norm. A matrix of the
    picture's own comes from the principal axes of those differences.
    """
    values = pixels.astype(np.float32)
    steps = np.concatenate([np.diff(values, axis=0).reshape(-1, 3), np.diff(values, axis=1).reshape(-1, 3)])
    if len(steps) < 256:
        return YCOCG, b""
    covariance = steps.T.astype(np.float64) @ steps / len(steps) + np.eye(3)

    def cost(matrix: np.ndarray) -> float:
        inverse = np.linalg.inv(matrix / ONE)
        variances = np.einsum("ij,jk,ik->i", inverse, covariance, inverse)
        return float(np.log2(variances * ((matrix / ONE) ** 2).sum(axis=0)).sum() / 2)

    axes = np.linalg.eigh(covariance)[1][:, ::-1]
    axes = axes * np.where(axes.sum(axis=0) < 0, -1, 1)
    entries = np.rint(axes * 64).astype(np.int8).tobytes()
    costs = {kind: cost(matrix_of(kind)) for kind in _FIXED}
    best = min(costs, key=costs.__getitem__)
    own = matrix_of(OWN, entries)
    if abs(np.linalg.det(own / ONE)) > 0.5 and cost(own) < costs[best] - 0.02:
        return OWN, entries
    return best, b""
