"""Scenes moved, turned and scaled as a whole. World axes and units: those of the scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scenerep.errors import ConfigError
from scenerep.geometry.poses import is_rotation
from scenerep.geometry.quaternions import quaternion_from_rotation
from scenerep.geometry.sh_rotation import rotate_sh
from scenerep.scenes import Gaussians


def transform(
    scene: Gaussians,
    *,
    scale: float = 1.0,
    rotation: np.ndarray | None = None,
    translation: np.ndarray | tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Gaussians:
    """Every point x becomes scale * rotation @ x + translation; colours turn along.

    Args:
        scale: Positive.
        rotation: [3, 3], determinant +1.

    Raises:
        ConfigError: if the scale is not positive, or the matrix no rotation.
    """
    if not 0 < scale < np.inf:
        raise ConfigError(f"a scene cannot be scaled by {scale:g}", "use a positive number")
    means = scene.means.astype(np.float64)
    quats, sh = scene.quats, scene.sh
    if rotation is not None:
        rotation = np.asarray(rotation, np.float64)
        if not is_rotation(rotation):
            raise ConfigError("the matrix is no rotation", "use an orthonormal 3 x 3 matrix with determinant 1")
        means = means @ rotation.T
        quats = _turn(quaternion_from_rotation(rotation), quats)
        sh = rotate_sh(sh, rotation)
    means = scale * means + np.asarray(translation, np.float64)
    log_scales = scene.log_scales + np.float32(np.log(scale))
    return replace(scene, means=means, log_scales=log_scales, quats=quats, sh=sh)


def centre(scene: Gaussians) -> np.ndarray:
    """[3] the median of the positions along each axis: strays do not move it."""
    return np.median(scene.means, axis=0).astype(np.float64) if len(scene) else np.zeros(3)


def recentre(scene: Gaussians, middle: np.ndarray | None = None) -> Gaussians:
    """The scene with `middle` [3] (by default its `centre`) at the origin."""
    return transform(scene, translation=-(centre(scene) if middle is None else np.asarray(middle, np.float64)))


def orient(scene: Gaussians, up: np.ndarray, target: np.ndarray | tuple[float, float, float] = (0, -1, 0)) -> Gaussians:
    """The scene turned about the origin so that its direction `up` [3] becomes `target` [3], by the shortest way.

    The default target is up in the axes of docs/architecture.md (y down).

    Raises:
        ConfigError: if a direction has no length.
    """
    return transform(scene, rotation=shortest_rotation(up, target))


def shortest_rotation(source: np.ndarray, target: np.ndarray | tuple[float, float, float]) -> np.ndarray:
    """[3, 3] the rotation by the smallest angle that takes the direction `source` to `target`."""
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if not (0 < np.linalg.norm(a) < np.inf and 0 < np.linalg.norm(b) < np.inf):
        raise ConfigError("a direction needs a length", "for example 0,0,1")
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    if a @ b < -1 + 1e-12:  # opposite: half a turn about any axis across
        across = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        across /= np.linalg.norm(across)
        return 2 * np.outer(across, across) - np.eye(3)
    # Rodrigues' formula with v = a x b and cos = a . b
    v = np.cross(a, b)
    skew = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + a @ b)


def _turn(q: np.ndarray, quats: np.ndarray) -> np.ndarray:
    """Hamilton product q * quats: first the Gaussian's own rotation, then q. wxyz."""
    w, v = q[0], q[1:]
    scalar, vector = quats[:, 0].astype(np.float64), quats[:, 1:].astype(np.float64)
    return np.concatenate(
        [(w * scalar - vector @ v)[:, None], w * vector + scalar[:, None] * v + np.cross(v, vector)], axis=1
    )
