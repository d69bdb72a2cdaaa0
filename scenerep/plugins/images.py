"""What nerfstudio wants to know of an evaluated picture. Torch alone, so that it is tested without nerfstudio."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scenerep import metrics


def image_metrics(outputs: Any, truth: Tensor) -> tuple[dict[str, float], dict[str, Tensor]]:
    """(PSNR and SSIM, pictures) of rendered `rgb`, `accumulation` and `depth` [h, w, c] against the truth [h, w, 3]."""
    rgb = outputs["rgb"].detach().clamp(0, 1)
    a, b = rgb.cpu().numpy(), truth.detach().cpu().numpy()
    found = {"psnr": float(metrics.psnr(a, b)), "ssim": float(metrics.ssim(a, b))}
    pictures = {"img": torch.cat([truth, rgb], dim=1)}
    for name in ("accumulation", "depth"):
        if name in outputs:
            values = outputs[name].detach()
            pictures[name] = (values / values.max().clamp(min=1e-9)).expand(*values.shape[:2], 3)
    return found, pictures
