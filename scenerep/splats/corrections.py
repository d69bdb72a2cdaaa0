"""What is learned per training picture besides the scene: exposure and pose. Small, so plain numpy Adam does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import inverse
from scenerep.geometry.quaternions import rotation_from_axis_angle

_EXPOSURE_RATE = 2e-3
_POSE_RATE = 5e-5  # radians; 40 times that is a pixel or so, and more than good poses need
_POSE_FROM = 0.15  # of the progress: before that the picture says nothing about fractions of a pixel
_FALL = 0.05


class _Adam:
    """Adam over rows [views, k]; a row moves only when its view was drawn, with its own step count."""

    def __init__(self, rows: int, columns: int) -> None:
        self.values = np.zeros((rows, columns))
        self.first, self.second = np.zeros((rows, columns)), np.zeros((rows, columns))
        self.steps = np.zeros(rows, dtype=np.int64)

    def update(self, row: int, gradient: np.ndarray, rate: float) -> None:
        self.steps[row] += 1
        t = self.steps[row]
        self.first[row] = 0.9 * self.first[row] + 0.1 * gradient
        self.second[row] = 0.999 * self.second[row] + 0.001 * gradient**2
        unbiased = self.first[row] / (1 - 0.9**t)
        self.values[row] -= rate * unbiased / (np.sqrt(self.second[row] / (1 - 0.999**t)) + 1e-15)

    def state(self, prefix: str) -> dict[str, np.ndarray]:
        return {f"{prefix}.{k}": getattr(self, k) for k in ("values", "first", "second", "steps")}

    def load(self, prefix: str, arrays: dict[str, np.ndarray]) -> None:
        for k in ("values", "first", "second", "steps"):
            setattr(self, k, arrays[f"{prefix}.{k}"].copy())


class Exposures:
    """An affine colour map [3, 4] per view, identity at first; the mean over all views stays the identity, so that the
    scene keeps the captures' common colours and held-out views need no correction of their own."""

    def __init__(self, views: int) -> None:
        self._adam = _Adam(views, 12)

    def matrix(self, view: int) -> np.ndarray:
        centred = self._adam.values[view] - self._adam.values.mean(axis=0)
        return (np.eye(3, 4) + centred.reshape(3, 4)).astype(np.float32)

    def update(self, view: int, gradient: np.ndarray, progress: float) -> None:
        self._adam.update(view, gradient.reshape(-1), _EXPOSURE_RATE * _FALL**progress)

    def state(self) -> dict[str, np.ndarray]:
        return self._adam.state("exposure")

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        self._adam.load("exposure", arrays)


class Poses:
    """A small rigid motion per training view, in camera axes: axis-angle [3] and translation [3] in scene sizes.

    What all views do together is no correction but a turned, shifted or scaled world, in which held-out cameras would
    stand wrong: the common rotation, translation and scale of the training cameras are taken out of every motion.

    Args:
        cameras: Of all views, as captured.
        train: Which of them are trained on.
        scene_scale: Unit of the translations.
    """

    def __init__(self, cameras: Sequence[Camera], train: Sequence[int], scene_scale: float) -> None:
        self._adam = _Adam(len(cameras), 6)
        self._scale = scene_scale
        self._train = np.asarray(train, dtype=np.int64)
        self._world_from_camera = np.stack([camera.world_from_camera for camera in cameras])
        centres = self._world_from_camera[:, :3, 3]
        self._arms = centres - centres[self._train].mean(axis=0)
        self._spread = float(np.square(self._arms[self._train]).sum())

    def camera(self, view: int, camera: Camera) -> Camera:
        """The camera with its refined pose."""
        if not self._adam.values.any():
            return camera
        refined = self._moved(view)
        turn, shift, growth = self._common()
        arm = self._arms[view]
        refined[:3, 3] -= np.cross(turn, arm) + growth * arm + shift
        refined[:3, :3] = rotation_from_axis_angle(-turn) @ refined[:3, :3]
        return replace(camera, world_from_camera=refined)

    def _moved(self, view: int) -> np.ndarray:
        """world_from_camera with the view's own motion."""
        xi = self._adam.values[view]
        motion = np.eye(4)
        motion[:3, :3] = rotation_from_axis_angle(xi[:3])
        motion[:3, 3] = xi[3:] * self._scale
        return self._world_from_camera[view] @ inverse(motion)

    def _common(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Rotation vector [3], translation [3] and growth that the training cameras share, to first order."""
        xi, world = self._adam.values[self._train], self._world_from_camera[self._train]
        turns = -np.einsum("vij,vj->vi", world[:, :3, :3], xi[:, :3])
        # The inverse of exp(w) x + t has its centre at -exp(-w) t.
        centres = -np.einsum("vji,vj->vi", rotation_from_axis_angle(xi[:, :3]), xi[:, 3:] * self._scale)
        shifts = np.einsum("vij,vj->vi", world[:, :3, :3], centres)
        growth = float((self._arms[self._train] * shifts).sum()) / self._spread if self._spread > 0 else 0.0
        return turns.mean(axis=0), shifts.mean(axis=0), growth

    def update(self, view: int, gradient: np.ndarray, camera: Camera, progress: float) -> None:
        """gradient [3, 4] of camera_from_world, at the refined `camera`. Nothing moves before _POSE_FROM."""
        if progress < _POSE_FROM:
            return
        pose = camera.camera_from_world
        # exp(w) T: row i of the rotation part moves by (w x column), the translation too.
        moment = gradient[:, :3] @ pose[:3, :3].T + np.outer(gradient[:, 3], pose[:3, 3])
        turn = np.array([moment[2, 1] - moment[1, 2], moment[0, 2] - moment[2, 0], moment[1, 0] - moment[0, 1]])
        xi = np.concatenate([turn, gradient[:, 3] * self._scale])
        self._adam.update(view, xi, _POSE_RATE * _FALL**progress)

    def state(self) -> dict[str, np.ndarray]:
        return self._adam.state("pose")

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        self._adam.load("pose", arrays)
