"""Numbers as pictures: alpha over a background, error as heat, depth as colour."""

from __future__ import annotations

import numpy as np

Rgb = tuple[float, float, float]

# Anchors of a black-violet-orange-white ramp whose lightness rises evenly, so that it also reads in grey.
_HEAT = np.array([[0, 0, 0], [60, 15, 110], [150, 40, 110], [225, 95, 60], [250, 180, 50], [255, 255, 235]]) / 255.0


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Display values in [0, 1], clipped and rounded to uint8."""
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def flatten(image: np.ndarray, background: Rgb) -> np.ndarray:
    """float32 [h, w, 3] in [0, 1] of a uint8 picture [h, w, 3 or 4]; straight alpha is composited on the background."""
    values = image.astype(np.float32) / 255.0
    if values.shape[2] == 3:
        return values
    alpha = values[..., 3:]
    return values[..., :3] * alpha + np.asarray(background, np.float32) * (1.0 - alpha)


def heat(values: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] colours of values [...] in [0, 1]: black is 0, near white is 1."""
    at = np.linspace(0.0, 1.0, len(_HEAT))
    clipped = np.clip(values, 0.0, 1.0)
    return to_uint8(np.stack([np.interp(clipped, at, _HEAT[:, c]) for c in range(3)], axis=-1))


def depth_range(depth: np.ndarray, alpha: np.ndarray) -> tuple[float, float]:
    """(near, far) that hold the inner 98 % of the depths of pixels that are mostly covered; (1, 2) if none is."""
    covered = depth[(alpha > 0.5) & (depth > 0)]
    if covered.size == 0:
        return 1.0, 2.0
    near, far = (float(v) for v in np.quantile(covered, [0.01, 0.99]))
    return near, max(far, near * 1.001)


def colour_depth(depth: np.ndarray, alpha: np.ndarray, near: float, far: float) -> np.ndarray:
    """uint8 [h, w, 3]: near is bright, far is dark, even steps in 1 / depth; faded to black by alpha.

    Args:
        depth: [h, w] along the camera's z axis, 0 = nothing there.
        alpha: [h, w] coverage in [0, 1].
        near, far: Depths of the brightest and the darkest colour, 0 < near < far; the same for all pictures of a video.
    """
    inverse = 1.0 / np.maximum(depth, 1e-12)
    level = (inverse - 1.0 / far) / (1.0 / near - 1.0 / far)
    # From 0.08 on, so that the farthest surface still differs from nothing.
    colours = heat(0.08 + 0.92 * np.clip(level, 0.0, 1.0))
    return to_uint8(colours / 255.0 * np.where(depth > 0, alpha, 0.0)[..., None])
