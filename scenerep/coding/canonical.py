"""One of the 24 equal ways to write a Gaussian's rotation and scales.

Permuting the axes of an ellipsoid together with its scales, and turning it half around any axis, leave it what it is:
24 pairs (quaternion, scales) describe one Gaussian. Fixing one makes neighbours alike, which helps the coder unless
the forms of the scene are clustered already; hence a choice for each scene.
"""

from __future__ import annotations

import numpy as np

from scenerep.geometry.quaternions import quaternion_product

_H = 0.5**0.5
# Quaternion p for each order of the axes: rotating by q p and permuting the scales is the same Gaussian as q.
# Key: axes of the old form that stand first, second and third in the new one.
_PERMUTATIONS = {
    (0, 1, 2): (1.0, 0.0, 0.0, 0.0),
    (1, 0, 2): (_H, 0.0, 0.0, _H),
    (0, 2, 1): (_H, _H, 0.0, 0.0),
    (2, 1, 0): (_H, 0.0, _H, 0.0),
    (1, 2, 0): (0.5, 0.5, 0.5, 0.5),
    (2, 0, 1): (0.5, -0.5, -0.5, -0.5),
}


def canonical_form(quats: np.ndarray, log_scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The form with descending scales whose quaternion has its largest component in w, w > 0.

    Args:
        quats: Quaternions wxyz [n, 4] of any length but zero.
        log_scales: Log scales [n, 3].

    Returns:
        float64 unit quaternions [n, 4] with w >= 1/2, and float64 log scales [n, 3].
    """
    scales = np.asarray(log_scales, dtype=np.float64)
    q = np.asarray(quats, dtype=np.float64)
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    # Equal scales keep their order: sorting is stable.
    order = np.argsort(-scales, axis=-1, kind="stable")
    turn = np.empty((len(q), 4))
    for axes, quaternion in _PERMUTATIONS.items():
        turn[np.all(order == axes, axis=-1)] = quaternion
    q = quaternion_product(q, turn)
    # Half turns about x, y, z on the right move x, y or z of the quaternion into w (up to signs).
    halves = np.stack([q, *(quaternion_product(q, np.eye(4)[axis][None]) for axis in (1, 2, 3))], axis=1)
    best = np.argmax(np.abs(halves[..., 0]), axis=1)
    q = np.take_along_axis(halves, best[:, None, None], axis=1)[:, 0]
    return np.where(q[:, :1] < 0, -q, q), np.take_along_axis(scales, order, axis=-1)
