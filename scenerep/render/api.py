"""The only door to rasterisation: checks the arguments, fills in defaults, picks a backend.

`rasterize` takes tensors and is differentiable; `render` and `significance` take a scene and answer in numpy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scenerep.errors import ConfigError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.sh import degree_of
from scenerep.render.checks import check_arguments
from scenerep.render.types import Backend, RasterizeBackend, Rasterized, Rendered, ScreenProbe
from scenerep.scenes import Gaussians, NeuralField, Scene

if TYPE_CHECKING:
    from scenerep.voxels.grid import Grid
    from scenerep.voxels.mip_grid import MipGrid


def rasterize(
    means: Float[Tensor, "n 3"],
    log_scales: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    opacity_logits: Float[Tensor, " n"],
    sh: Float[Tensor, "n k 3"],
    camera: Camera,
    *,
    sh_degree: int | None = None,
    background: Float[Tensor, " 3"] | None = None,
    antialiased: bool = False,
    features: Float[Tensor, "n c"] | None = None,
    depth: bool = False,
    median_depth: bool = False,
    camera_from_world: Float[Tensor, "4 4"] | None = None,
    probe: ScreenProbe | None = None,
    backend: Backend = "auto",
) -> Rasterized:
    """Draw Gaussians as seen by one camera. Differentiable; docs/rasterisation.md has the formulas.

    Args:
        means: Centres in the world.
        log_scales: Natural logarithms of the standard deviations [world units].
        quats: Rotations, wxyz, any length; one of length 0 counts as no rotation.
        opacity_logits: Opacity is the logistic function of these.
        sh: Colour coefficients, k in 1, 4, 9, 16; colour = max(0, 0.5 + SH(direction)).
        camera: Intrinsics, size and (unless overridden) pose. Must be free of distortion.
        sh_degree: Use the coefficients up to this degree only.
        background: Colour behind everything, black by default.
        antialiased: Lower the opacity of small Gaussians by what the low-pass filter widens them (Mip-Splatting).
        features: More channels to blend like the colour, without background.
        depth, median_depth: Also draw these.
        camera_from_world: Pose to use instead of the camera's; takes gradients. Rigid.
        probe: Told which Gaussians are visible and the gradients of their projected centres.
        backend: `native` (C++, float32, CPU), `reference` (torch, slow, float32 or float64, any device), `gsplat`
            (CUDA). `auto` takes gsplat for tensors on a CUDA device, native otherwise.

    Raises: SceneRepError for arguments of the wrong shape, dtype, device or with NaN or infinity in them;
        DeviceError for a backend that cannot run here.
    """
    tensors = {"means": means, "log_scales": log_scales, "quats": quats, "opacity_logits": opacity_logits, "sh": sh}
    if camera_from_world is None:
        camera_from_world = torch.from_numpy(camera.camera_from_world).to(means)
    if background is None:
        background = means.new_zeros(3)
    check_arguments(tensors, camera, background, features, camera_from_world)
    highest = degree_of(sh.shape[1])
    if sh_degree is not None and not 0 <= sh_degree <= highest:
        raise ConfigError(f"sh_degree={sh_degree} does not fit coefficients of degree {highest}", f"use 0 to {highest}")
    return _backend(backend, means)(
        means,
        log_scales,
        quats,
        opacity_logits,
        sh,
        camera,
        sh_degree=highest if sh_degree is None else sh_degree,
        background=background,
        antialiased=antialiased,
        features=features,
        depth=depth,
        median_depth=median_depth,
        camera_from_world=camera_from_world,
        probe=probe,
    )


def render(
    scene: Scene | Grid | MipGrid,
    camera: Camera,
    *,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    depth: bool = False,
    median_depth: bool = False,
    sh_degree: int | None = None,
    backend: Backend = "auto",
) -> Rendered:
    """Draw a scene of any kind, without gradients; arguments as in `rasterize`. Antialiased if the scene says so.

    `auto` means native here; `gsplat` copies the scene to the CUDA device at every call. rgb is not clipped at 1.
    """
    if isinstance(scene, NeuralField):
        raise ConfigError("a coordinate network is no scene to be drawn", "export its picture or its mesh")
    if not isinstance(scene, Gaussians):
        from scenerep.render.voxels import render_voxels

        if sh_degree is not None:
            raise ConfigError("sh_degree cuts the colour of splats only", "leave it out")
        return render_voxels(
            scene, camera, background=background, depth=depth, median_depth=median_depth, backend=backend
        )
    with torch.no_grad():
        tensors = _tensors(scene, backend)
        out = rasterize(
            *tensors,
            camera,
            sh_degree=sh_degree,
            background=tensors[0].new_tensor(background),
            antialiased=scene.antialiased,
            depth=depth,
            median_depth=median_depth,
            backend=backend,
        )
    return Rendered(
        rgb=out.rgb.cpu().numpy(),
        alpha=out.alpha.cpu().numpy(),
        depth=None if out.depth is None else out.depth.cpu().numpy(),
        median_depth=None if out.median_depth is None else out.median_depth.cpu().numpy(),
    )


def significance(scene: Gaussians, cameras: Iterable[Camera], *, backend: Backend = "auto") -> np.ndarray:
    """Sum of each Gaussian's blending weights over all pixels of all cameras: float64 [n], 0 for the unseen.

    A one-channel feature is blended as sum of weight times feature, so the gradient of the picture's sum with respect
    to the feature is the sum of the weights.
    """
    tensors = _tensors(scene, backend)
    total = np.zeros(len(scene), dtype=np.float64)
    for camera in cameras:
        feature = tensors[0].new_ones((len(scene), 1)).requires_grad_()
        with torch.enable_grad():
            out = rasterize(
                *tensors, camera, sh_degree=0, features=feature, antialiased=scene.antialiased, backend=backend
            )
            assert out.features is not None
            (weights,) = torch.autograd.grad(out.features.sum(), feature)
        total += weights[:, 0].double().cpu().numpy()
    return total


def _tensors(scene: Gaussians, backend: Backend) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The five parameter arrays in the order of `rasterize`."""
    device = "cuda" if backend == "gsplat" and torch.cuda.is_available() else "cpu"
    # A read-only array (a memory map, bytes of a file) cannot be shared with torch without a warning.
    arrays = (scene.means, scene.log_scales, scene.quats, scene.opacity_logits, scene.sh)
    means, log_scales, quats, opacity_logits, sh = (
        torch.from_numpy(a if a.flags.writeable else a.copy()).to(device) for a in arrays
    )
    return means, log_scales, quats, opacity_logits, sh


def _backend(name: Backend, means: Tensor) -> RasterizeBackend:
    if name == "auto":
        name = "gsplat" if means.is_cuda else "native"
    if name == "reference":
        from scenerep.render.reference import rasterize_reference

        return rasterize_reference
    if name not in ("native", "gsplat"):
        raise ConfigError(f"backend={name!r} is not known", "use one of: auto, native, reference, gsplat")
    if means.dtype != torch.float32:
        raise ConfigError(f"the {name} backend computes in float32, not {means.dtype}", 'use backend="reference"')
    if name == "gsplat":
        from scenerep.render.gpu import rasterize_gsplat

        return rasterize_gsplat
    if means.device.type != "cpu":
        raise ConfigError(
            f"the native backend runs on the CPU, the tensors are on {means.device}", 'use backend="gsplat"'
        )
    from scenerep.render.native_backend import rasterize_native

    return rasterize_native
