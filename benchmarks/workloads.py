"""Procedural splat scenes of the size and make-up of trained ones, for benchmarks.

Three kinds of Gaussians share a box in front of the camera: flat discs on curved surfaces, thin needles (foliage), and
a few large faint blobs (haze). Opacities are wide (logit normal), colours have all SH bands. Opacities and sizes are
chosen so that two figures of each workload equal those of the measurements that the targets come from: Gaussians
blended per pixel (74, 69 and 72 for S, M and L; here 74.0, 70.1 and 71.8) and the median half length on the screen of
the ellipse alpha = 1/255 (10.7, 9.2 and 8.1 px; here 10.7, 9.2 and 8.1). (Tile, Gaussian) pairs follow within 7 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenerep.geometry.cameras import Camera
from scenerep.scenes import Gaussians


@dataclass(frozen=True)
class Workload:
    count: int
    width: int
    height: int
    size_px: float  # median standard deviation of a Gaussian's long axes on the screen
    logit: float  # mean opacity logit of the discs and needles


WORKLOADS = {
    "S": Workload(20_000, 320, 180, 2.85, 0.7),
    "M": Workload(100_000, 640, 360, 2.38, 1.3),
    "L": Workload(300_000, 960, 540, 2.08, 1.1),
}


def workload(name: str) -> tuple[Gaussians, Camera]:
    return make_scene(WORKLOADS[name])


def training_workload(count: int, width: int, height: int) -> tuple[Gaussians, Camera]:
    """As dense as M, whatever the number of Gaussians and pixels: about 70 blended per pixel."""
    m = WORKLOADS["M"]
    area = (width * height / count) / (m.width * m.height / m.count)
    return make_scene(Workload(count, width, height, m.size_px * area**0.5, 1.0))


def make_scene(what: Workload, seed: int = 0) -> tuple[Gaussians, Camera]:
    """Gaussians that fill the view of the returned camera."""
    count, width, height = what.count, what.width, what.height
    rng = np.random.default_rng(seed)
    focal = 0.9 * width
    camera = Camera(focal, focal, width / 2, height / 2, width, height)
    depth = rng.uniform(2.0, 10.0, count)
    u = rng.uniform(-0.06, 1.06, count) * width
    v = rng.uniform(-0.06, 1.06, count) * height
    kind = rng.choice(3, count, p=[0.62, 0.34, 0.04])
    # Discs gather on a few wavy sheets, so that depth order and occlusion look like surfaces.
    sheet = rng.integers(2, 7, count) + 0.4 * np.sin(u / width * 9 + v / height * 5)
    depth = np.where(kind == 0, 1.4 * sheet + rng.normal(0, 0.02, count), depth)
    means = np.stack([(u - width / 2) / focal * depth, (v - height / 2) / focal * depth, depth], axis=1)

    pixel = depth / focal  # world size of a pixel at that depth
    size = what.size_px * pixel * np.exp(rng.normal(0, 0.55, count))
    scales = np.stack([size, size * np.exp(rng.normal(-0.3, 0.4, count)), size], axis=1)
    scales[:, 2] *= np.where(kind == 0, 0.08, 1.0)
    scales[kind == 1] *= np.array([2.2, 0.25, 0.25])
    scales[kind == 2] *= 4.0
    opacity = np.where(kind == 2, rng.normal(-3.0, 0.7, count), rng.normal(what.logit, 2.0, count))
    quats = rng.normal(size=(count, 4))
    sh = rng.normal(0, 0.08, (count, 16, 3))
    sh[:, 0] = rng.normal(0, 0.9, (count, 3))
    scene = Gaussians(means, np.log(scales), quats, opacity, sh)
    return scene, camera
