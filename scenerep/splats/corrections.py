"""What is learned per training picture besides the scene: exposure and pose. Small, so plain numpy Adam does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scenerep.geometry.cameras import Camera
from scenerep.geometry.quaternions import rotation_from_axis_angle

_EXPOSURE_RATE = 2e-3
_POSE_RATE = 3e-4
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
    """A small rigid motion per view, applied in camera axes: axis-angle [3] and translation [3] in scene sizes."""

    def __init__(self, views: int, scene_scale: float) -> None:
        self._adam = _Adam(views, 6)
        self._scale = scene_scale

    def camera(self, view: int, camera: Camera) -> Camera:
        """The camera with its refined pose."""
        xi = self._adam.values[view]
        if not xi.any():
            return camera
        moved = np.eye(4)
        moved[:3, :3] = rotation_from_axis_angle(xi[:3])
        moved[:3, 3] = xi[3:] * self._scale
        return replace(camera, world_from_camera=np.linalg.inv(moved @ camera.camera_from_world))

    def update(self, view: int, gradient: np.ndarray, camera: Camera, progress: float) -> None:
        """gradient [3, 4] of camera_from_world, at the refined `camera`."""
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
