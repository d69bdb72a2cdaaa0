"""PSNR and SSIM between two pictures [h, w, 3], uint8 or float in [0, 1], over a mask if there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import correlate1d

from scenerep.errors import DataError
from scenerep.metrics.pictures import as_float, as_pair
from scenerep.native import native

C1 = 0.01**2
C2 = 0.03**2
_BAND = 256  # rows


def taps() -> np.ndarray:
    """The Gaussian window of SSIM: 11 taps, sigma 1.5, sum 1. float64 [11]."""
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    return weights / weights.sum()


def psnr(image: Any, reference: Any, mask: Any = None) -> float:
    """Peak signal-to-noise ratio in dB for values in [0, 1]: -10 log10 of the mean squared error; inf if equal.

    Args:
        image, reference: [h, w, 3] uint8, or float in [0, 1].
        mask: [h, w], 0 = ignore.

    Raises:
        DataError: The sizes differ, or the mask keeps nothing.
    """
    a, b, m = as_pair(image, reference, mask)
    keep = None if m is None else kept(m)
    total, count = 0.0, 0
    for row in range(0, len(a), _BAND):  # float64 of a large picture at once would be most of a training's memory
        rows = slice(row, row + _BAND)
        error = (as_float(a[rows], np.float64) - as_float(b[rows], np.float64)) ** 2
        if keep is not None:
            error = error[keep[rows]]
        total, count = total + float(error.sum()), count + error.size
    mse = total / count
    return float("inf") if mse == 0 else -10 * float(np.log10(mse))


def ssim(image: Any, reference: Any, mask: Any = None) -> float:
    """Structural similarity (Wang et al. 2004), at most 1: the mean of `ssim_map`, by the training loss's kernel.

    The window is 11 x 11, Gaussian, sigma 1.5, and sees zeros outside the picture, as in the loss and in the numbers
    that 3DGS reports. Wang's original and scikit-image leave out the border, so their numbers differ a little.

    Args and errors as for `psnr`. With a mask both pictures are zero where it is.
    """
    a, b, m = as_pair(image, reference, mask)
    if m is not None:
        kept(m)
    return native().l1_ssim(as_float(a), b, None, m, 1.0, None, native().LossWorkspace())[2]


def ssim_map(image: Any, reference: Any, mask: Any = None) -> np.ndarray:
    """SSIM at every pixel and channel, float64 [h, w, 3]: the plain reference, in NumPy, of the kernel's `ssim`."""
    a, b, m = as_pair(image, reference, mask)
    x, y = as_float(a, np.float64), as_float(b, np.float64)
    if m is not None:
        x, y = (np.where(m[..., None] != 0, picture, 0) for picture in (x, y))

    def filtered(picture: np.ndarray) -> np.ndarray:
        along = correlate1d(picture, taps(), axis=1, mode="constant")
        return correlate1d(along, taps(), axis=0, mode="constant")

    mean_x, mean_y = filtered(x), filtered(y)
    covariance = filtered(x * y) - mean_x * mean_y
    variances = filtered(x * x) - mean_x**2 + filtered(y * y) - mean_y**2
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance * (2 * covariance + C2) / (variances + C2)


def kept(mask: np.ndarray) -> np.ndarray:
    """The mask as booleans. Raises DataError if it keeps nothing."""
    keep = mask != 0
    if not keep.any():
        raise DataError("the mask ignores every pixel", "invert it if white means ignore: here 0 means ignore")
    return keep
