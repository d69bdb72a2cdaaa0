"""Small random scenes for the tests of rasterisation, with every awkward kind of Gaussian in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from scenerep.geometry.cameras import Camera
from scenerep.render import Rasterized

NAMES = ("means", "log_scales", "quats", "opacity_logits", "sh")


def make_camera(width: int, height: int, seed: int = 0) -> Camera:
    """A camera with unequal focal lengths, an off-centre principal point and a general pose near the origin."""
    g = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(g.normal(size=(3, 3)))
    pose = np.eye(4)
    pose[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    pose[:3, 3] = g.normal(size=3)
    side = max(width, height)
    return Camera(0.9 * side, 1.1 * side, 0.45 * width, 0.55 * height, width, height, pose)


def make_scene(
    count: int,
    camera: Camera,
    *,
    seed: int = 0,
    degree: int = 3,
    dtype: torch.dtype = torch.float64,
    size_px: float = 3,
) -> dict[str, Tensor]:
    """Gaussians before the camera, some beside the picture or behind; sizes and opacities spread widely."""
    g = np.random.default_rng(seed)
    z = g.uniform(1.5, 6, count) * np.where(g.random(count) < 0.05, -1, 1)
    u, v = g.uniform(-0.3, 1.3, (2, count))
    local = np.stack(
        [
            (u * camera.width - camera.cx) / camera.fx * z,
            (v * camera.height - camera.cy) / camera.fy * z,
            z,
        ],
        axis=1,
    )
    world = local @ camera.world_from_camera[:3, :3].T + camera.world_from_camera[:3, 3]
    log_scales = np.log(size_px * np.abs(z)[:, None] / camera.fx) + g.normal(0, 0.8, (count, 3))
    arrays = {
        "means": world,
        "log_scales": log_scales,
        "quats": g.normal(size=(count, 4)) * g.uniform(0.2, 5, (count, 1)),
        "opacity_logits": g.normal(0.5, 2.5, count),
        "sh": g.normal(0, 0.25, (count, (degree + 1) ** 2, 3)),
    }
    return {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}


def pose_of(camera: Camera, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(camera.camera_from_world, dtype=dtype)


def scalar_loss(out: Rasterized, seed: int = 0) -> Tensor:
    """A loss that weighs every pixel of every differentiable output differently; depth only where it is solid."""
    g = torch.Generator().manual_seed(seed)

    def weigh(picture: Tensor) -> Tensor:
        weights = torch.rand(picture.shape, generator=g, dtype=torch.float64).to(picture) - 0.3
        return (weights * picture).sum() + 0.5 * (weights * picture.square()).sum()

    loss = weigh(out.rgb) + weigh(out.alpha)
    if out.depth is not None:
        # Where alpha is near 1/255, one rounding flips the depth between 0 and z.
        solid = (out.alpha.detach() > 0.1).to(out.alpha)
        loss = loss + weigh(0.1 * out.depth * solid)
    if out.features is not None:
        loss = loss + weigh(out.features)
    return loss


def relative_error(found: Tensor, expected: Tensor) -> float:
    """L2 distance over the L2 norm of what is expected."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm().clamp(min=1e-12))


def with_gradients(tensors: dict[str, Any]) -> dict[str, Any]:
    """Copies of the tensors which take gradients; other values unchanged."""
    return {k: v.detach().clone().requires_grad_() if isinstance(v, Tensor) else v for k, v in tensors.items()}
