"""Real spherical harmonics up to degree 3, in the sign convention of 3D Gaussian splatting.

Coefficient l^2 + l + m belongs to degree l and order m; the signs are those with the Condon-Shortley phase, so a
positive first-order coefficient brightens -y, +z, -x. Functions take numpy arrays or torch tensors and answer in kind.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scenerep.errors import SceneRepError

MAX_DEGREE = 3
# Normalisation factors: each basis function has unit norm over the sphere.
C0 = math.sqrt(1 / (4 * math.pi))
C1 = math.sqrt(3 / (4 * math.pi))
C2 = math.sqrt(15 / (4 * math.pi)), math.sqrt(5 / (16 * math.pi)), math.sqrt(15 / (16 * math.pi))
C3 = (
    math.sqrt(35 / (32 * math.pi)),
    math.sqrt(105 / (4 * math.pi)),
    math.sqrt(21 / (32 * math.pi)),
    math.sqrt(7 / (16 * math.pi)),
    math.sqrt(105 / (16 * math.pi)),
)


def coefficient_count(degree: int) -> int:
    """Coefficients per colour channel of a degree in 0..3: 1, 4, 9, 16."""
    if not 0 <= degree <= MAX_DEGREE:
        raise SceneRepError(f"spherical harmonics of degree {degree} are not supported", f"use 0 to {MAX_DEGREE}")
    return (degree + 1) ** 2


def degree_of(count: int) -> int:
    """Degree that has `count` coefficients per channel (1, 4, 9 or 16)."""
    degree = math.isqrt(max(count, 1)) - 1
    if degree > MAX_DEGREE or (degree + 1) ** 2 != count:
        raise SceneRepError(f"{count} spherical-harmonics coefficients fit no degree", "expected 1, 4, 9 or 16")
    return degree


def basis(directions: Any, degree: int) -> Any:
    """Basis functions at unit directions: [..., 3] -> [..., (degree + 1)^2], array or tensor."""
    coefficient_count(degree)
    x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
    values = [0 * x + C0]
    if degree >= 1:
        values += [-C1 * y, C1 * z, -C1 * x]
    if degree >= 2:
        values += [
            C2[0] * x * y,
            -C2[0] * y * z,
            C2[1] * (3 * z * z - 1),
            -C2[0] * x * z,
            C2[2] * (x * x - y * y),
        ]
    if degree >= 3:
        values += [
            -C3[0] * y * (3 * x * x - y * y),
            C3[1] * x * y * z,
            -C3[2] * y * (5 * z * z - 1),
            C3[3] * z * (5 * z * z - 3),
            -C3[2] * x * (5 * z * z - 1),
            C3[4] * z * (x * x - y * y),
            -C3[0] * x * (x * x - 3 * y * y),
        ]
    return _stack(values, like=directions)


def evaluate(sh: Any, directions: Any, degree: int | None = None) -> Any:
    """Sum of basis times coefficient, without the 0.5 of the colour.

    Args:
        sh: Coefficients [n, k, c], k in 1, 4, 9, 16.
        directions: Unit directions from the viewer to the primitive [n, 3].
        degree: Highest degree to use; by default all that is there.

    Returns: [n, c].
    """
    degree = degree_of(sh.shape[1]) if degree is None else degree
    count = coefficient_count(degree)
    if count > sh.shape[1]:
        raise SceneRepError(f"degree {degree} needs {count} coefficients, the array has {sh.shape[1]}")
    return (basis(directions, degree)[..., None] * sh[:, :count]).sum(-2)


def dc_from_rgb(rgb: Any) -> Any:
    """Coefficient of degree 0 that shows as this colour from everywhere."""
    return (rgb - 0.5) / C0


def rgb_from_dc(dc: Any) -> Any:
    """Colour of degree 0 alone; may lie outside [0, 1]."""
    return dc * C0 + 0.5


def _stack(values: list[Any], like: Any) -> Any:
    if isinstance(like, np.ndarray):
        return np.stack(values, axis=-1)
    import torch  # only here: numpy users of this module (readers, --help) must not pay for it

    return torch.stack(values, dim=-1)
