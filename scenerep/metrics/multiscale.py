"""Multi-scale SSIM (Wang, Simoncelli, Bovik 2003)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import correlate1d

from scenerep.errors import DataError
from scenerep.metrics.pictures import as_float, as_pair
from scenerep.metrics.quality import C1, C2, kept, taps

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST = 161  # px: the window of 11 must fit the picture after four halvings
_RADIUS = 5


def ms_ssim(image: Any, reference: Any, mask: Any = None) -> float:
    """MS-SSIM in [0, 1], the mean over the channels: five scales, 2 x 2 means between them.

    The window (11 taps, sigma 1.5) stays inside the picture, unlike that of `ssim`: so the number equals that of the
    `pytorch-msssim` package and of the paper.

    Args:
        image, reference: [h, w, 3] uint8, or float in [0, 1].
        mask: [h, w], 0 = ignore. Both pictures are zero there; a window counts if its centre is kept, and a pixel of
            a coarser scale is kept if all those under it are.

    Raises:
        DataError: The sizes differ, a side is below 161 px, or at some scale the mask keeps nothing.
    """
    a, b, m = as_pair(image, reference, mask)
    if min(a.shape[:2]) < SMALLEST:
        raise DataError(
            f"MS-SSIM needs at least {SMALLEST} px on each side, found {a.shape[1]} x {a.shape[0]}", "use ssim"
        )
    x, y = as_float(a, np.float64), as_float(b, np.float64)
    keep = None if m is None else kept(m)
    if keep is not None:
        x, y = x * keep[..., None], y * keep[..., None]
    result = np.ones(3)
    for scale, weight in enumerate(WEIGHTS):
        similarity, contrast = _means(x, y, keep)
        last = scale == len(WEIGHTS) - 1
        # Negative values have no real power; the package cuts them at zero, and so do we.
        result *= np.maximum(similarity if last else contrast, 0) ** weight
        if not last:
            x, y = _halved(x), _halved(y)
            keep = None if keep is None else _halved(keep[..., None].astype(np.float64))[..., 0] == 1
    return float(result.mean())


def _means(x: np.ndarray, y: np.ndarray, keep: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Per channel [3]: the mean of SSIM and of its contrast-structure part."""
    inside = (slice(_RADIUS, -_RADIUS), slice(_RADIUS, -_RADIUS))

    def filtered(picture: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(picture, taps(), axis=1), taps(), axis=0)[inside]

    mean_x, mean_y = filtered(x), filtered(y)
    variances = filtered(x * x) - mean_x**2 + filtered(y * y) - mean_y**2
    contrast = (2 * (filtered(x * y) - mean_x * mean_y) + C2) / (variances + C2)
    similarity = contrast * (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    if keep is None:
        return similarity.mean(axis=(0, 1)), contrast.mean(axis=(0, 1))
    centres = keep[inside]
    if not centres.any():
        raise DataError("the mask keeps nothing at a coarse scale of MS-SSIM", "use ssim, which has one scale")
    return similarity[centres].mean(axis=0), contrast[centres].mean(axis=0)


def _halved(picture: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; an odd side gets a zero row on both ends first and loses the last, as the package does."""
    height, width = picture.shape[:2]
    odd_y, odd_x = height % 2, width % 2
    padded = np.pad(picture, ((odd_y, odd_y), (odd_x, odd_x), (0, 0)))
    rows, columns = padded.shape[0] // 2, padded.shape[1] // 2
    padded = padded[: 2 * rows, : 2 * columns]
    return padded.reshape(rows, 2, columns, 2, -1).mean(axis=(1, 3))
