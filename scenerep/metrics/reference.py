"""The training loss in plain torch: the specification of `native/loss.cpp`, and the loss on other devices."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2


def window(dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> Tensor:
    """The Gaussian taps [11], which sum to 1."""
    distance = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    taps = torch.exp(-0.5 * (distance / SIGMA) ** 2)
    return (taps / taps.sum()).to(dtype=dtype, device=device)


def filtered(pictures: Tensor) -> Tensor:
    """Each picture [n, h, w] under the window, zeros outside it."""
    count = pictures.shape[0]
    taps = window(pictures.dtype, pictures.device).expand(count, 1, 1, WINDOW)
    # One group per picture, not one batch entry: on a CPU torch is fifty times faster that way.
    out = conv2d(pictures[None], taps, padding=(0, WINDOW // 2), groups=count)
    return conv2d(out, taps.transpose(2, 3), padding=(WINDOW // 2, 0), groups=count)[0]


def l1_ssim_reference(
    image: Tensor, target: Tensor, mask: Tensor | None = None, lambda_: float = 0.2
) -> tuple[Tensor, Tensor, Tensor]:
    """`L1SSIM` with autograd: (loss, l1, ssim), three scalars.

    Args:
        image: [h, w, 3] float.
        target: [h, w, 3] uint8, or float in [0, 1].
        mask: [h, w], 0 = ignore: both pictures are multiplied by it, and the means run over the pixels kept.
        lambda_: Weight of the SSIM term.
    """
    y = target.to(image.dtype) / 255 if target.dtype == torch.uint8 else target.to(image.dtype)
    x = image
    keep = torch.ones(image.shape[:2], dtype=torch.bool, device=image.device) if mask is None else mask != 0
    if mask is not None:
        x, y = torch.where(keep[..., None], x, 0), torch.where(keep[..., None], y, 0)
    x, y = x.permute(2, 0, 1), y.permute(2, 0, 1)
    mean_x, mean_y, xx, yy, xy = filtered(torch.cat([x, y, x * x, y * y, x * y])).split(x.shape[0])
    covariance = xy - mean_x * mean_y
    variances = xx - mean_x**2 + yy - mean_y**2
    similarity = ((2 * mean_x * mean_y + C1) * (2 * covariance + C2)) / (
        (mean_x**2 + mean_y**2 + C1) * (variances + C2)
    )
    samples = keep.sum() * x.shape[0]
    if samples == 0:
        return (image * 0).sum(), image.new_zeros(()), image.new_ones(())
    ssim = torch.where(keep, similarity, 0).sum() / samples
    l1 = (x - y).abs().sum() / samples
    return (1 - lambda_) * l1 + lambda_ * (1 - ssim), l1, ssim
