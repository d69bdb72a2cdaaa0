"""Pictures that a teacher gives to its student: of the training cameras, and of cameras beside them."""

from __future__ import annotations

import dataclasses

import numpy as np

from scenerep.compress.views import Views
from scenerep.geometry.cameras import Camera
from scenerep.render import render
from scenerep.scenes import Gaussians
from scenerep.splats.targets import Target


class TeacherViews(Views):
    """Renders of a scene, of which two out of three are from a camera that was shifted at random (pseudo views).

    shift: Standard deviation of the shift along each axis, world units.
    drawn: Pictures drawn so far; each has numbers of its own.
    """

    def __init__(self, teacher: Gaussians, views: Views, shift: float, seed: int, drawn: int = 0) -> None:
        r, g, b = views.background.tolist()
        super().__init__([views.target(i) for i in range(len(views))], range(len(views)), (r, g, b), False)
        self.drawn = drawn
        self._teacher, self._shift, self._seed = teacher, shift, seed

    def target(self, i: int) -> Target:
        camera = super().target(i).camera
        if self.drawn % 3:
            camera = _shifted(camera, self._shift, np.random.default_rng([self._seed, self.drawn]))
        self.drawn += 1
        r, g, b = self.background.tolist()
        return Target(camera, render(self._teacher, camera, background=(r, g, b)).rgb.clip(0, 1), None, None)


def _shifted(camera: Camera, shift: float, rng: np.random.Generator) -> Camera:
    pose = camera.world_from_camera.copy()
    pose[:3, 3] += rng.normal(0, shift, 3)
    return dataclasses.replace(camera, world_from_camera=pose)
