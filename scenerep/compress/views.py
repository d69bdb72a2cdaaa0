"""The pictures that a compressor looks at: photographs of a capture, or renders of the scene that came without any."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scenerep.captures import Capture
from scenerep.errors import DataError
from scenerep.evaluation.pictures import Rgb, to_uint8
from scenerep.geometry.cameras import Camera
from scenerep.geometry.layout import level_look_at
from scenerep.metrics import psnr
from scenerep.render import render
from scenerep.scenes import Gaussians, Scene
from scenerep.splats.targets import Target, Targets


class Views:
    """Targets by number, all over one background colour.

    Attributes:
        background: float32 [3] in [0, 1].
        are_photographs: Whether they are; else they are renders of the scene itself.
    """

    def __init__(self, targets: Sequence[Target] | Targets, numbers: Sequence[int], background: Rgb, real: bool):
        if not len(numbers):
            raise DataError("there are no pictures to compare with", "use a capture with training views")
        self._targets, self._numbers = targets, list(numbers)
        self.background = np.array(background, dtype=np.float32)
        self.are_photographs = real

    @classmethod
    def of_capture(cls, capture: Capture, numbers: Sequence[int], background: Rgb | None = None) -> Views:
        """Photographs of a capture; by default over white if they have alpha and over black if not."""
        if not len(numbers):
            raise DataError(f"{capture.root}: no views to compare with", "use a larger --test-every")
        if background is None:
            background = (1.0, 1.0, 1.0) if capture.image(numbers[0]).shape[2] == 4 else (0.0, 0.0, 0.0)
        return cls(Targets(capture, np.array(background, np.float32)), numbers, background, True)

    @classmethod
    def of_renders(cls, scene: Scene, cameras: Sequence[Camera], background: Rgb = (0.0, 0.0, 0.0)) -> Views:
        """Pictures that the scene itself gives."""
        targets = [Target(c, to_uint8(render(scene, c, background=background).rgb), None, None) for c in cameras]
        return cls(targets, range(len(cameras)), background, False)

    def __len__(self) -> int:
        return len(self._numbers)

    def target(self, i: int) -> Target:
        """The i-th picture, uint8, with its camera and mask."""
        number = self._numbers[i]
        if isinstance(self._targets, Targets):
            return self._targets.get(number, 0, self.background)
        return self._targets[number]

    def some(self, count: int) -> list[int]:
        """Numbers of at most `count` pictures, evenly spread."""
        return np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)).tolist()

    def psnr(self, scene: Scene, numbers: Sequence[int] | None = None) -> float:
        """Mean PSNR [dB] of a scene over the pictures (all by default), renders clipped to [0, 1]."""
        r, g, b = self.background.tolist()
        found = []
        for i in range(len(self)) if numbers is None else numbers:
            target = self.target(i)
            picture = render(scene, target.camera, background=(r, g, b)).rgb.clip(0, 1)
            found.append(psnr(picture, target.rgb, mask=target.mask))
        return float(np.mean(found))

    def values(self, numbers: Sequence[int] | None = None) -> int:
        """Colour values (pixels that count, times three) in the pictures."""
        total = 0
        for i in range(len(self)) if numbers is None else numbers:
            target = self.target(i)
            total += 3 * (target.rgb[..., 0].size if target.mask is None else int(np.count_nonzero(target.mask)))
        return total


def cameras_around(scene: Gaussians, width: int = 640, height: int = 480, count: int = 32) -> list[Camera]:
    """Cameras on all sides of a scene that came without any: what none of them sees would be thrown away.

    They lie on a Fibonacci sphere and look at the middle, by turns from where the ball of 90 % of the centres fills the
    picture and from 0.6 of that distance.
    """
    means = scene.means.astype(np.float64)
    middle = np.median(means, axis=0)
    radius = float(np.quantile(np.linalg.norm(means - middle, axis=1), 0.9)) or 1.0
    focal = 0.9 * height
    far = radius * float(np.hypot(1.0, 2 * focal / height))
    i = np.arange(count)
    z = 1 - (2 * i + 1) / count
    angle = np.pi * (3 - np.sqrt(5)) * i
    directions = np.stack([np.sqrt(1 - z * z) * np.cos(angle), z, np.sqrt(1 - z * z) * np.sin(angle)], axis=1)
    cameras = []
    for number, direction in enumerate(directions):
        distance = far * (1.0 if number % 2 == 0 else 0.6)
        pose = level_look_at(middle + distance * direction, middle, np.array([0.0, -1.0, 0.0]))
        cameras.append(Camera(focal, focal, width / 2, height / 2, width, height, pose))
    return cameras
