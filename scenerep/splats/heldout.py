"""Quality on held-out views while training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scenerep.captures import Capture
from scenerep.native import native
from scenerep.scenes import Gaussians
from scenerep.splats.targets import over


def held_out_quality(
    scene: Gaussians, capture: Capture, views: Sequence[int], background: np.ndarray
) -> tuple[float, float]:
    """Mean PSNR [dB] and SSIM over views, whole pictures (masked pixels left out), renders clipped to [0, 1]."""
    module = native()
    raster, workspace = module.Rasterizer(), module.LossWorkspace()
    psnr, ssim = [], []
    for view in views:
        camera, truth, mask = capture.camera(view), capture.image(view), capture.mask(view)
        size = (camera.height, camera.width)
        rgb, alpha = np.empty((*size, 3), dtype=np.float32), np.empty(size, dtype=np.float32)
        raster.prepare(
            *scene.arrays().values(),
            np.ascontiguousarray(camera.camera_from_world[:3]),
            np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
            camera.width,
            camera.height,
            scene.sh_degree,
            scene.antialiased,
        )
        raster.blend_colour(rgb, alpha, None, None, [float(b) for b in background])
        np.clip(rgb, 0.0, 1.0, out=rgb)
        wanted = over(truth, background) if truth.shape[2] == 4 else truth.astype(np.float32) / 255.0
        wanted = np.ascontiguousarray(wanted, dtype=np.float32)
        use = None if mask is None else mask.astype(np.uint8)
        error = (rgb - wanted) ** 2
        mse = float(error.mean() if mask is None else error[mask].mean())
        psnr.append(-10.0 * np.log10(max(mse, 1e-10)))
        ssim.append(module.l1_ssim(rgb, wanted, None, use, 1.0, None, workspace)[2])
    return float(np.mean(psnr)), float(np.mean(ssim))
