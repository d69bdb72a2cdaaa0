"""How far a picture is from the photograph: the training loss and the metrics that papers report.

The torch reference of the loss stands in `scenerep.metrics.reference`, apart, because this package imports no torch.
"""

from scenerep.metrics.fused_loss import L1SSIM, LossAndGradient
from scenerep.metrics.multiscale import ms_ssim
from scenerep.metrics.perceptual import lpips
from scenerep.metrics.quality import psnr, ssim, ssim_map

__all__ = ["L1SSIM", "LossAndGradient", "lpips", "ms_ssim", "psnr", "ssim", "ssim_map"]
