"""Learning rates of fine-tuning a scene that is trained already, the length that positions are measured by, and what
turns the lambda of a mean squared error into that of the training's loss."""

from __future__ import annotations

import numpy as np

from scenerep.compress.views import Views
from scenerep.metrics import L1SSIM
from scenerep.render import render
from scenerep.scenes import Gaussians
from scenerep.splats.schedule import Rates


def camera_spread(views: Views) -> float:
    """1.1 times the largest distance of a camera from the middle of all, world units; 1 for a single one."""
    centres = np.stack([views.target(i).camera.centre for i in range(len(views))])
    spread = 1.1 * float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())
    return spread if spread > 0 else 1.0


def fine_rates(progress: float, spread: float) -> Rates:
    """Those of training in its second half, falling to a fifth; of positions to 3 %."""
    cool = float(np.interp(progress, [0.0, 0.5, 1.0], [1.0, 0.6, 0.2]))
    return Rates(1.5e-4 * spread * 0.03**progress, 5e-3 * cool, 1e-3 * cool, 3e-2 * cool, 2.5e-3 * cool, 2.5e-4 * cool)


def loss_per_error(scene: Gaussians, views: Views, count: int = 4) -> float:
    """d loss / d mean squared error along the gradient of the latter in `count` pictures: makes lambda fit both."""
    r, g, b = views.background.tolist()
    top = bottom = 0.0
    loss = L1SSIM(0.2)
    for i in views.some(count):
        target = views.target(i)
        picture = render(scene, target.camera, background=(r, g, b)).rgb
        by_loss = loss.loss_and_gradient(picture, target.rgb, mask=target.mask).gradient
        by_error = 2 * (picture - target.rgb / np.float32(255))
        if target.mask is not None:
            by_error *= target.mask[..., None] != 0
        by_error /= views.values([i])
        top += float((by_loss * by_error).sum())
        bottom += float((by_error * by_error).sum())
    return top / max(bottom, 1e-30)
