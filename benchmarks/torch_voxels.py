"""The plain way to train a voxel grid: torch's grid_sample, autograd and Adam. What bench_fields.py compares with.

The same space, channels, activations and picture pool as ours; the grid has its full size from the start, and every
sample of every ray is shaded.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np


def train_torch(run_path: Path, minutes: float, rays: int = 1024, most_samples: int = 256) -> tuple[float, int]:
    """(held-out PSNR, steps) after so many minutes on the capture and with the grid of a voxel run."""
    import torch
    import torch.nn.functional as F

    from scenerep import metrics
    from scenerep.data_tools import open_capture
    from scenerep.evaluation.measure import photograph
    from scenerep.geometry.rays import camera_rays
    from scenerep.runs import Run
    from scenerep.scenes import Voxels
    from scenerep.voxel_training.batches import RaySource
    from scenerep.voxels.space import OPTICAL, SHIFT, space_of

    run = Run.open(run_path)
    scene = run.scene()
    assert isinstance(scene, Voxels)
    space = space_of(scene)
    capture = open_capture(run.data, max_side=run.max_side, test_every=run.test_every)
    found = run.latest_checkpoint(())
    assert found is not None
    background = np.array(found.state["background"], np.float32)
    source = RaySource(capture, background, np.random.default_rng(0))
    nx, ny, nz = space.size
    grid = torch.zeros(1, 13, nz, ny, nx, requires_grad=True)
    optimiser = torch.optim.Adam([grid], lr=0.1, betas=(0.9, 0.99), eps=1e-15)
    centre, half = (torch.tensor(x, dtype=torch.float32) for x in (space.centre, space.half))
    tau = OPTICAL * 2 * space.extent / most_samples

    def march(o: torch.Tensor, d: torch.Tensor, jitter: bool) -> torch.Tensor:
        u0, du = (o - centre) / half, d / half
        if space.contracted:
            # Evenly over the contracted distance from the camera.
            s = (torch.arange(most_samples) + (torch.rand(len(o), 1) if jitter else 0.5)) / most_samples
            t = (0.15 + s / (1.001 - s)) * float(half.min())
        else:
            a, b = (-1 - u0) / du, (1 - u0) / du
            near, far = (
                torch.minimum(a, b).amax(1, keepdim=True).clamp(min=0),
                torch.maximum(a, b).amin(1, keepdim=True),
            )
            s = (torch.arange(most_samples) + (torch.rand(len(o), 1) if jitter else 0.5)) / most_samples
            t = near + s * (far - near).clamp(min=0)
        u = u0[:, None] + t[..., None] * du[:, None]
        if space.contracted:
            n = u.abs().amax(-1, keepdim=True).clamp(min=1)
            u = u / n * (2 - 1 / n)
        values = F.grid_sample(grid, (u / space.extent)[None, :, :, None], align_corners=True)[0, :, :, :, 0]
        x = values[0] + SHIFT
        density = torch.exp(x.clamp(max=0)) + x.clamp(min=0)
        passed = torch.exp(-density * tau)
        before = torch.cat([torch.ones(len(o), 1), passed.cumprod(1)], 1)
        basis = torch.stack(
            [torch.full_like(d[:, 0], 0.282095), -0.488603 * d[:, 1], 0.488603 * d[:, 2], -0.488603 * d[:, 0]]
        )
        colour = torch.sigmoid((values[1:].reshape(4, 3, len(o), -1) * basis[:, None, :, None]).sum(0))
        weights = before[:, :-1] - before[:, 1:]
        return (weights[None] * colour).sum(2).T + before[:, -1:] * torch.from_numpy(background)

    steps, start = 0, time.monotonic()
    while time.monotonic() - start < 60 * minutes:
        batch = source.draw(rays)
        o, d, targets = (torch.from_numpy(x) for x in (batch.origins, batch.directions, batch.targets))
        loss = F.mse_loss(march(o, d, True), targets)
        optimiser.zero_grad()
        loss.backward()
        progress = (time.monotonic() - start) / (60 * minutes)
        optimiser.param_groups[0]["lr"] = 0.1 * 0.1**progress
        optimiser.step()
        steps += 1
    scores = []
    with torch.no_grad():
        for view in capture.test:
            truth, valid, _, _ = photograph(capture, view, (background[0], background[1], background[2]))
            camera = capture.camera(view)
            o, d = (torch.from_numpy(x) for x in camera_rays(camera))
            parts = [march(a, b, False) for a, b in zip(o.split(4096), d.split(4096), strict=True)]
            image = torch.cat(parts).reshape(camera.height, camera.width, 3).clamp(0, 1).numpy()
            scores.append(metrics.psnr(image, truth, mask=valid))
    return float(np.mean(scores)), steps
