"""The backend `gsplat`: a thin adapter to gsplat >= 1.4 (Apache 2.0) for tensors on a CUDA device.

gsplat's classic mode is what docs/rasterisation.md describes, so this only renames arguments and results.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scenerep.errors import ConfigError, DeviceError
from scenerep.geometry.cameras import Camera
from scenerep.render.constants import FAR, LOW_PASS, NEAR
from scenerep.render.types import Rasterized, ScreenProbe

_OLDEST = (1, 4)


def rasterize_gsplat(
    means: Float[Tensor, "n 3"],
    log_scales: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    opacity_logits: Float[Tensor, " n"],
    sh: Float[Tensor, "n k 3"],
    camera: Camera,
    *,
    sh_degree: int,
    background: Float[Tensor, " 3"],
    antialiased: bool,
    features: Float[Tensor, "n c"] | None,
    depth: bool,
    median_depth: bool,
    camera_from_world: Float[Tensor, "4 4"],
    probe: ScreenProbe | None,
) -> Rasterized:
    """Arguments as in `types.RasterizeBackend`, on a CUDA device.

    There is no median depth, and features take a second pass.

    Raises: DeviceError without a CUDA device or gsplat; ConfigError for median_depth.
    """
    gsplat = _gsplat(means)
    if median_depth:
        raise ConfigError("gsplat draws no median depth", 'ask for depth, or use backend="native"')
    if len(means) == 0:
        return _empty(means, camera, background, features, depth, probe)
    shared = {
        "means": means,
        # gsplat divides by the length; one of 0 stands for no rotation, as in the reference.
        "quats": torch.where((quats == 0).all(1, keepdim=True), quats.new_tensor([1.0, 0, 0, 0]), quats),
        "scales": log_scales.exp(),
        "opacities": opacity_logits.sigmoid(),
        "viewmats": camera_from_world[None],
        "Ks": torch.from_numpy(camera.intrinsics).to(means)[None],
        "width": camera.width,
        "height": camera.height,
        "near_plane": NEAR,
        "far_plane": FAR,
        "radius_clip": 0.0,
        "eps2d": LOW_PASS,
        "packed": False,
        "absgrad": probe is not None and probe.wants_absolute,
        "rasterize_mode": "antialiased" if antialiased else "classic",
    }
    image, alpha, info = gsplat.rasterization(
        **shared,
        colors=sh,
        sh_degree=sh_degree,
        backgrounds=background[None],
        render_mode="RGB+ED" if depth else "RGB",
    )
    infos = [info]
    blended = None
    if features is not None:
        blended, _, info = gsplat.rasterization(**shared, colors=features, sh_degree=None, render_mode="RGB")
        infos.append(info)
    if probe is not None:
        _listen(probe, infos)
    return Rasterized(
        rgb=image[0, ..., :3],
        alpha=alpha[0, ..., 0],
        depth=image[0, ..., 3] if depth else None,
        features=None if blended is None else blended[0],
    )


def _gsplat(means: Tensor) -> ModuleType:
    # Without a device, gsplat fails in the middle of a call with an ImportError of its extension: ask first.
    if not torch.cuda.is_available():
        raise DeviceError(
            "the gsplat backend needs a CUDA device, torch finds none", 'use backend="native" or install a CUDA torch'
        )
    if not means.is_cuda:
        raise DeviceError(f"the gsplat backend needs tensors on a CUDA device, these are on {means.device}")
    try:
        import gsplat
    except ImportError as error:
        raise DeviceError(f"gsplat cannot be imported: {error}", "run: pip install 'gsplat>=1.4'") from error
    version = tuple(int(part) for part in gsplat.__version__.split(".")[:2])
    if version < _OLDEST:
        raise DeviceError(f"gsplat {gsplat.__version__} is too old", "run: pip install 'gsplat>=1.4'")
    return gsplat


def _listen(probe: ScreenProbe, infos: list[dict[str, Any]]) -> None:
    """Fill `probe` from the projected centres [1, n, 2] and radii of the colour's pass and, if any, the features'."""
    radii = infos[0]["radii"][0]  # [n, 2] since gsplat 1.5, [n] before
    probe.visible = (radii > 0).all(-1) if radii.ndim == 2 else radii > 0
    gradients: dict[int, Tensor] = {}

    def listener(number: int, centres: Tensor) -> None:
        def hook(gradient: Tensor) -> None:
            gradients[number] = gradient[0]
            probe.gradient = torch.stack(list(gradients.values())).sum(0)
            if probe.wants_absolute and number == 0:
                # Set by the backward pass of gsplat's blending, which has just produced `gradient`.
                probe.absolute = centres.absgrad[0]  # pyright: ignore[reportAttributeAccessIssue]

        if centres.requires_grad:
            centres.register_hook(hook)

    for number, info in enumerate(infos):
        listener(number, info["means2d"])


def _empty(
    means: Tensor,
    camera: Camera,
    background: Tensor,
    features: Tensor | None,
    depth: bool,
    probe: ScreenProbe | None,
) -> Rasterized:
    # gsplat's kernels do not take empty arrays. The empty sum is 0 and keeps a backward pass possible.
    blank = means.new_zeros(camera.height, camera.width) + means.sum()
    if probe is not None:
        probe.visible = torch.zeros(0, dtype=torch.bool, device=means.device)
    return Rasterized(
        rgb=blank[..., None] + background,
        alpha=blank,
        depth=blank if depth else None,
        features=None if features is None else blank[..., None].expand(-1, -1, features.shape[1]),
    )
