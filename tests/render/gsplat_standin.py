"""gsplat's rasterization on a CPU: its own projection and harmonics, its blending rules written densely.

gsplat itself runs on CUDA only, but ships both in plain torch as its test reference. Same names, shapes and results
as gsplat 1.5, so that the adapter can be tested, and the reference compared, without a GPU.
"""

from __future__ import annotations

import torch
from gsplat.cuda._torch_impl import _fully_fused_projection, _quat_scale_to_covar_preci, _spherical_harmonics
from torch import Tensor


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float,
    far_plane: float,
    radius_clip: float,
    eps2d: float,
    packed: bool,
    absgrad: bool,
    rasterize_mode: str,
    render_mode: str,
    sh_degree: int | None = None,
    backgrounds: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict]:
    assert radius_clip == 0 and not packed
    covars, _ = _quat_scale_to_covar_preci(quats, scales, compute_preci=False)
    front = (means @ viewmats[0, 2, :3] + viewmats[0, 2, 3] > near_plane).detach()
    where = torch.where(front)[0]  # what is behind would bring NaN into the gradients
    radii, centres, depths, conics, compensation = _fully_fused_projection(
        means[where],
        covars[where],
        viewmats,
        Ks,
        width,
        height,
        eps2d,
        near_plane,
        far_plane,
        calc_compensations=rasterize_mode == "antialiased",
    )
    all_centres = centres.new_zeros(1, len(means), 2).index_copy(1, where, centres)
    all_radii = torch.zeros(1, len(means), 2, dtype=torch.int32).index_copy(1, where, radii)
    opacity = opacities[where] if compensation is None else opacities[where] * compensation[0]
    values = colors[where]
    if sh_degree is not None:
        eye = torch.inverse(viewmats)[0, :3, 3]
        values = (_spherical_harmonics(sh_degree, means[where] - eye, values) + 0.5).clamp_min(0)
    if render_mode == "RGB+ED":
        values = torch.cat([values, depths[0, :, None]], dim=1)
    image, alpha = _blend(all_centres, where, conics[0], opacity, depths[0], values, width, height, absgrad)
    if render_mode == "RGB+ED":
        image = torch.cat([image[..., :-1], image[..., -1:] / alpha[..., None].clamp_min(1e-10)], dim=-1)
    if backgrounds is not None:
        colour = image[..., :3] + (1 - alpha)[..., None] * backgrounds[0]
        image = torch.cat([colour, image[..., 3:]], dim=-1)
    return image[None], alpha[None, ..., None], {"means2d": all_centres, "radii": all_radii}


def _blend(centres, where, conics, opacity, depths, values, width, height, absgrad):
    order = torch.sort(depths, stable=True).indices
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y], dim=-1).reshape(-1, 1, 2).to(values) + 0.5
    delta = centres[0, where[order]] - pixels  # [pixels, m, 2]
    if absgrad and delta.requires_grad:

        def keep(gradient: Tensor) -> None:
            centres.absgrad = torch.zeros_like(centres.detach())
            centres.absgrad[0, where[order]] = gradient.abs().sum(0)

        delta.register_hook(keep)
    a, b, c = conics[order].unbind(1)
    sigma = 0.5 * (a * delta[..., 0] ** 2 + c * delta[..., 1] ** 2) + b * delta[..., 0] * delta[..., 1]
    alpha = (opacity[order] * torch.exp(-sigma)).clamp(max=0.999)
    alpha = alpha * ((sigma >= 0) & (alpha >= 1 / 255)).detach()
    ahead = torch.cumprod(1 - alpha, dim=1)
    weights = alpha * torch.cat([torch.ones_like(ahead[:, :1]), ahead[:, :-1]], dim=1) * (ahead > 1e-4).detach()
    image = (weights @ values[order]).reshape(height, width, -1)
    return image, weights.sum(1).reshape(height, width)
