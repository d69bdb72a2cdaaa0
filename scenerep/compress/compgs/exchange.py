"""What turns the lambda of a mean squared error into that of the training's loss, and lengths into learning rates."""

from __future__ import annotations

import numpy as np

from scenerep.compress.views import Views
from scenerep.metrics import L1SSIM
from scenerep.render import render
from scenerep.scenes import Gaussians


def loss_per_error(scene: Gaussians, views: Views, count: int = 4) -> float:
    """d loss / d mean squared error for a small change of all pixels towards the pictures, measured on some of them."""
    r, g, b = views.background.tolist()
    loss = L1SSIM(0.2)
    ratios = []
    for i in views.some(count):
        target = views.target(i)
        picture = render(scene, target.camera, background=(r, g, b)).rgb
        towards = target.rgb / np.float32(255) - picture
        if target.mask is not None:
            towards *= target.mask[..., None] != 0
        by_loss = loss.loss_and_gradient(picture, target.rgb, mask=target.mask).gradient
        by_error = -2 * float((towards * towards).sum()) / views.values([i])
        ratios.append(float((by_loss * towards).sum()) / min(by_error, -1e-30))
    return float(np.mean(ratios))


def camera_reach(views: Views) -> float:
    """1.1 times the largest distance of a camera from their middle; 1 if there is only one."""
    centres = np.stack([views.target(i).camera.centre for i in range(len(views))])
    reach = 1.1 * float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())
    return reach if reach > 0 else 1.0
