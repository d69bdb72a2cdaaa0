"""Rotating functions given by real spherical harmonics (sh.py)."""

from __future__ import annotations

import numpy as np

from scenerep.geometry.sh import basis, degree_of

_DIRECTIONS = 64


def sh_rotation(rotation: np.ndarray, degree: int) -> np.ndarray:
    """float64 [(degree + 1)^2, same]: M @ c are the coefficients of the function of c, turned by `rotation` [3, 3].

    The turned function has at direction d the old value at R^T d. With the basis B at more directions than
    coefficients, B M = B(R^T d) is a least-squares problem that has an exact solution, as each degree is closed under
    rotation. Orthogonal matrices with determinant -1 (mirrors) are allowed.
    """
    # A spiral over the sphere: spread evenly enough that the problem is well conditioned.
    i = np.arange(_DIRECTIONS) + 0.5
    z, angle = 1 - 2 * i / _DIRECTIONS, i * np.pi * (3 - np.sqrt(5))
    d = np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], axis=1)
    out = np.zeros(((degree + 1) ** 2,) * 2)
    before, after = basis(d @ np.asarray(rotation, np.float64), degree), basis(d, degree)
    for band in range(degree + 1):
        part = slice(band**2, (band + 1) ** 2)
        out[part, part] = np.linalg.lstsq(after[:, part], before[:, part], rcond=None)[0]
    return out


def rotate_sh(sh: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """float32 [n, k, 3]: coefficients of the functions of sh [n, k, 3], turned by `rotation` [3, 3]."""
    matrix = sh_rotation(rotation, degree_of(sh.shape[1])).astype(np.float32)
    return np.matmul(matrix, sh)
