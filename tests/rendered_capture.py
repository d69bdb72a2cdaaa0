"""A capture whose photographs are renders of a known scene, so that what evaluation has to give is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from scenerep.captures import Capture, Points, View
from scenerep.captures.disk import write_capture
from scenerep.evaluation import to_uint8
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import look_at
from scenerep.render import render
from scenerep.scenes import Gaussians

UP = np.array([0.0, -1.0, 0.0])


def small_scene(n: int = 60, seed: int = 0, degree: int = 1) -> Gaussians:
    """Opaque blobs in a ball of radius 1 around (0.5, 0, 2)."""
    r = np.random.default_rng(seed)
    means = r.normal(size=(n, 3))
    means *= (r.random(n) ** (1 / 3) / np.linalg.norm(means, axis=1))[:, None]
    sh = r.normal(0, 0.1, (n, (degree + 1) ** 2, 3))
    sh[:, 0] = r.uniform(-1.5, 1.5, (n, 3))
    return Gaussians(
        means + np.array([0.5, 0, 2]), r.uniform(-2.5, -1.2, (n, 3)), r.normal(size=(n, 4)), r.uniform(-1, 4, n), sh
    )


def ring(n: int, *, radius: float = 4.0, height: float = 1.0, size: tuple[int, int] = (48, 32)) -> list[Camera]:
    """Cameras around (0.5, 0, 2), looking at it from a little above."""
    middle = np.array([0.5, 0.0, 2.0])
    cameras = []
    for angle in np.linspace(0, 2 * np.pi, n, endpoint=False):
        eye = middle + np.array([radius * np.sin(angle), -height, radius * np.cos(angle)])
        cameras.append(Camera(50.0, 50.0, size[0] / 2, size[1] / 2, *size, look_at(eye, middle, UP)))
    return cameras


def photograph_scene(folder: Path, scene: Gaussians, cameras: list[Camera], *, alpha: bool = False) -> Capture:
    """Write renders of the scene as a capture in `folder`; every 4th view is held out.

    With alpha, the pictures are straight-alpha RGBA.
    """
    pictures = folder.with_name(folder.name + "_pictures")
    pictures.mkdir(parents=True)
    views = []
    for i, camera in enumerate(cameras):
        drawn = render(scene, camera, background=(0, 0, 0))
        picture = to_uint8(drawn.rgb)
        if alpha:
            colour = drawn.rgb / np.maximum(drawn.alpha, 1e-3)[..., None]
            picture = np.dstack([to_uint8(colour), to_uint8(drawn.alpha)])
        file = pictures / f"{i:02d}.png"
        Image.fromarray(picture).save(file)
        views.append(View(file.name, camera, file, split="test" if i % 4 == 0 else "train"))
    write_capture(Capture(pictures, "rendered", views), folder)
    from scenerep.data_tools.open import open_capture

    return open_capture(folder)


def points_about(scene: Gaussians) -> Points:
    """Four points about each Gaussian, in its colour."""
    rng = np.random.default_rng(5)
    xyz = scene.means[:, None] + rng.normal(size=(len(scene), 4, 3)) * np.exp(scene.log_scales)[:, None] * 0.7
    rgb = np.clip(0.5 + 0.28209479177387814 * scene.sh[:, 0], 0, 1) * 255
    return Points(xyz.reshape(-1, 3).astype(np.float32), np.repeat(np.round(rgb).astype(np.uint8), 4, axis=0))
