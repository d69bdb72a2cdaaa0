"""Learning rates of fine-tuning a scene that is trained already, and the scale that positions are measured by."""

from __future__ import annotations

import numpy as np

from scenerep.compress.views import Views
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
