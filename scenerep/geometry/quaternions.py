"""Quaternions (w, x, y, z) and axis-angle vectors to rotation matrices and back. Batched over leading axes, float64."""

from __future__ import annotations

import numpy as np


def rotation_from_quaternion(quats: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of quaternions wxyz [..., 4] of any length but zero.

    Raises:
        ValueError: a quaternion has length zero or is not finite.
    """
    quats = np.asarray(quats, dtype=np.float64)
    length = np.linalg.norm(quats, axis=-1, keepdims=True)
    if not np.all(np.isfinite(length) & (length > 0)):
        raise ValueError("a quaternion of length zero has no rotation")
    w, x, y, z = np.moveaxis(quats / length, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_from_rotation(rotations: np.ndarray) -> np.ndarray:
    """Unit quaternions wxyz [..., 4] with w >= 0 of rotation matrices [..., 3, 3].

    All four candidates of Shepperd's method (1978) are built, and the one with the largest divisor is taken, so the
    result is accurate at every angle.
    """
    m = np.asarray(rotations, dtype=np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    candidates = np.stack(
        [
            np.stack([1 + xx + yy + zz, wx, wy, wz], axis=-1),
            np.stack([wx, 1 + xx - yy - zz, xy, xz], axis=-1),
            np.stack([wy, xy, 1 - xx + yy - zz, yz], axis=-1),
            np.stack([wz, xz, yz, 1 - xx - yy + zz], axis=-1),
        ],
        axis=-2,
    )
    best = np.argmax(np.diagonal(candidates, axis1=-2, axis2=-1), axis=-1)
    quats = np.take_along_axis(candidates, best[..., None, None], axis=-2)[..., 0, :]
    quats = quats / np.linalg.norm(quats, axis=-1, keepdims=True)
    return np.where(quats[..., :1] < 0, -quats, quats)


def rotation_from_axis_angle(vectors: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of axis-angle vectors [..., 3] (direction: axis, length: angle in radians)."""
    vectors = np.asarray(vectors, dtype=np.float64)
    half = np.linalg.norm(vectors, axis=-1, keepdims=True) / 2
    # sin(half) / (2 half), by np.sinc so that angle zero needs no special case
    scale = np.sinc(half / np.pi) / 2
    return rotation_from_quaternion(np.concatenate([np.cos(half), vectors * scale], axis=-1))


def quaternion_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product a b of quaternions wxyz [..., 4]."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    parts = [
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ]
    return np.stack(parts, axis=-1)
