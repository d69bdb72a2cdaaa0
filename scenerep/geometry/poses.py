"""Rigid poses and similarities: 4x4 float64 matrices named by their frames (`world_from_camera`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scenerep.geometry.cameras import Camera


def pose(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """[4, 4] from a rotation [3, 3] and a translation [3]."""
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = translation
    return out


def inverse(rigid: np.ndarray) -> np.ndarray:
    """The inverse of a rigid pose [4, 4]."""
    rotation = rigid[:3, :3].T
    return pose(rotation, -rotation @ rigid[:3, 3])


def opencv_from_opengl(world_from_camera: np.ndarray) -> np.ndarray:
    """[4, 4] from camera axes x right, y up, looking along -z (OpenGL, Blender, nerfstudio); its own inverse."""
    return np.asarray(world_from_camera, dtype=np.float64) @ np.diag([1.0, -1.0, -1.0, 1.0])


def is_rotation(matrix: np.ndarray, tolerance: float = 1e-3) -> bool:
    """Whether a [3, 3] matrix is orthonormal with determinant +1, entry by entry within `tolerance`."""
    return bool(
        np.all(np.abs(matrix) < 2)  # also refuses NaN, and what would overflow below
        and np.allclose(matrix @ matrix.T, np.eye(3), atol=tolerance)
        and np.linalg.det(matrix) > 0
    )


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest to a [3, 3] matrix (polar decomposition); removes scale and rounding of stored poses."""
    u, _, vt = np.linalg.svd(matrix)
    return u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt


def look_at(eye: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """`world_from_camera` [4, 4], OpenCV axes, of a camera at `eye` that looks at `target`; `up` is up in the picture.

    Raises:
        ValueError: eye and target coincide, or the view direction is parallel to `up`.
    """
    eye, up = np.asarray(eye, dtype=np.float64), np.asarray(up, dtype=np.float64)
    forward = np.asarray(target, dtype=np.float64) - eye
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9 * max(np.linalg.norm(forward) * np.linalg.norm(up), 1e-300):
        raise ValueError("look_at needs a view direction that is not zero and not parallel to up")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    return pose(np.stack([right, np.cross(forward, right), forward], axis=1), eye)


def rotation_angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Angle in degrees, 0..180, of the rotation that takes a [3, 3] to b [3, 3]."""
    # atan2 stays accurate near 0 and 180 degrees, where arccos of the trace does not.
    relative = a[:3, :3].T @ b[:3, :3]
    axis = np.array([relative[2, 1] - relative[1, 2], relative[0, 2] - relative[2, 0], relative[1, 0] - relative[0, 1]])
    return float(np.degrees(np.arctan2(np.linalg.norm(axis), np.trace(relative) - 1)))


def focus_point(cameras: Sequence[Camera]) -> np.ndarray:
    """[3] the point nearest (least squares) to all optical axes: where the cameras look.

    Parallel axes have no such point; the damping then keeps it near the mean of the centres.
    """
    centres = np.stack([camera.centre for camera in cameras])
    forward = np.stack([camera.world_from_camera[:3, 2] for camera in cameras])
    off_axis = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    mean = centres.mean(axis=0)
    left = off_axis.sum(axis=0) + 1e-9 * len(cameras) * np.eye(3)
    right = np.einsum("nij,nj->i", off_axis, centres - mean)
    return mean + np.linalg.solve(left, right)


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation [3, 3] and translation [3] that take points [n, 3] of `source` to `target` in least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991, eqs. 40-42.

    Raises:
        ValueError: fewer than three points, or the source points coincide.
    """
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if source.shape != target.shape or len(source) < 3:
        raise ValueError("similarity needs the same number, three or more, of points on both sides")
    mean_s, mean_t = source.mean(axis=0), target.mean(axis=0)
    variance = ((source - mean_s) ** 2).sum() / len(source)
    if variance == 0:
        raise ValueError("similarity needs source points that differ")
    u, d, vt = np.linalg.svd((target - mean_t).T @ (source - mean_s) / len(source))
    s = np.diag([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ s @ vt
    scale = float(np.trace(np.diag(d) @ s) / variance)
    return scale, rotation, mean_t - scale * rotation @ mean_s
