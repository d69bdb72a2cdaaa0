"""A picture with edges, texture, colours and flat places."""

from __future__ import annotations

import numpy as np


def photograph(height: int, width: int, seed: int = 5) -> np.ndarray:
    """uint8 [h, w, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = 60 * np.sin(x / 9 + y / 23) + 40 * np.sin((x - 2 * y) / 31)
    disc = 90.0 * ((x - width / 3) ** 2 + (y - height / 2) ** 2 < (min(height, width) / 4) ** 2)
    grain = rng.normal(0, 6, (height, width)) * (x > width / 2)
    base = 120 + waves + grain
    planes = [base + disc, base * 0.9 - 0.5 * disc, 0.6 * base + 30 * (y > height / 2)]
    return np.stack(planes, axis=2).clip(0, 255).astype(np.uint8)
