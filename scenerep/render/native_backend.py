"""The CPU backend: native kernels behind torch autograd.

A frame's state (sorted records, tile lists) lives in a `Rasterizer` object of the native module. Objects are kept and
used again, since their memory is large and fresh pages are slow; a graph holds its object until it is freed.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scenerep.geometry.cameras import Camera
from scenerep.native import native
from scenerep.render.types import Rasterized, ScreenProbe

_GROUP = 4  # feature channels blended in one pass


class _Lease:
    """One Rasterizer, returned to the shelf when nobody needs its state any more."""

    _shelves: dict[ModuleType, list[Any]] = {}  # noqa: RUF012  shared on purpose; one for each build that was used

    def __init__(self) -> None:
        module = native()
        self._shelf = self._shelves.setdefault(module, [])
        self.rasterizer = self._shelf.pop() if self._shelf else module.Rasterizer()

    def __del__(self) -> None:
        if len(self._shelf) < 2:
            self._shelf.append(self.rasterizer)


class _Rasterize(torch.autograd.Function):
    """Inputs: the five parameter arrays, the pose and the background; then what takes no gradient."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        means: Tensor,
        log_scales: Tensor,
        quats: Tensor,
        opacity_logits: Tensor,
        sh: Tensor,
        pose: Tensor,
        features: Tensor | None,
        lease: _Lease,
        camera: Camera,
        options: dict[str, Any],
        probe: ScreenProbe | None,
    ) -> tuple[Tensor | None, ...]:
        raster = lease.rasterizer
        h, w = camera.height, camera.width
        arrays = [t.detach().contiguous().numpy() for t in (means, log_scales, quats, opacity_logits, sh)]
        raster.prepare(
            *arrays,
            np.ascontiguousarray(pose.detach().double().numpy()[:3]),
            np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
            w,
            h,
            options["sh_degree"],
            options["antialiased"],
        )
        rgb, alpha = torch.empty(h, w, 3), torch.empty(h, w)
        depth = torch.empty(h, w) if options["depth"] or options["median_depth"] else None
        median = torch.empty(h, w) if options["median_depth"] else None
        raster.blend_colour(
            rgb.numpy(),
            alpha.numpy(),
            None if depth is None else depth.numpy(),
            None if median is None else median.numpy(),
            [0.0, 0.0, 0.0],
        )
        if probe is not None:
            visible = np.empty(len(means), dtype=np.uint8)
            raster.visible(visible)
            probe.visible = torch.from_numpy(visible).bool()
        feature_picture = None
        groups: list[tuple[np.ndarray, Tensor]] = []
        if features is not None:
            for begin in range(0, features.shape[1], _GROUP):
                part = torch.zeros(len(features), _GROUP)
                part[:, : features.shape[1] - begin] = features.detach()[:, begin : begin + _GROUP]
                picture = torch.empty(h, w, _GROUP)
                raster.blend_features(part.numpy(), picture.numpy())
                groups.append((part.numpy(), picture))
            joined = [picture for _, picture in groups] or [torch.zeros(h, w, 0)]
            feature_picture = torch.cat(joined, dim=2)[:, :, : features.shape[1]]
        ctx.lease, ctx.arrays, ctx.groups, ctx.probe, ctx.options = lease, arrays, groups, probe, options
        ctx.save_for_backward(rgb, alpha, *([] if depth is None else [depth]))
        ctx.feature_count = None if features is None else features.shape[1]
        if median is not None:
            ctx.mark_non_differentiable(median)
        return rgb, alpha, depth, median, feature_picture

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        v_rgb, v_alpha, v_depth, _, v_features = grads
        rgb, alpha, *rest = ctx.saved_tensors
        raster = ctx.lease.rasterizer
        if ctx.groups:  # the features took the place of the colours in the frame
            raster.restore_colours()

        def plain(t: Tensor | None) -> np.ndarray | None:
            return None if t is None else t.detach().contiguous().numpy()

        absolute = ctx.probe is not None and ctx.probe.wants_absolute
        zero = np.zeros(rgb.shape, dtype=np.float32)
        v_rgb_array = plain(v_rgb)
        raster.backward_colour(
            rgb.numpy(),
            alpha.numpy(),
            rest[0].numpy() if rest else None,
            zero if v_rgb_array is None else v_rgb_array,
            plain(v_alpha),
            plain(v_depth) if rest else None,
            absolute,
        )
        v_feature_array = None
        if v_features is not None and ctx.feature_count is not None:
            parts = []
            for index, (part, picture) in enumerate(ctx.groups):
                begin = index * _GROUP
                v = torch.zeros(*picture.shape)
                v[:, :, : ctx.feature_count - begin] = v_features[:, :, begin : begin + _GROUP]
                v_part = np.empty_like(part)
                raster.backward_features(part, picture.numpy(), v.numpy(), v_part)
                parts.append(torch.from_numpy(v_part))
            v_feature_array = torch.cat(parts, dim=1)[:, : ctx.feature_count] if parts else None
        out = [np.empty_like(a) for a in ctx.arrays]
        n = len(ctx.arrays[0])
        pose = np.zeros((3, 4)) if ctx.needs_input_grad[5] else None
        screen = np.empty((n, 2), dtype=np.float32) if ctx.probe is not None else None
        screen_absolute = np.empty((n, 2), dtype=np.float32) if absolute else None
        raster.parameter_gradients(*out, screen, screen_absolute, pose, False)
        if ctx.probe is not None:
            ctx.probe.gradient = torch.from_numpy(screen)
            ctx.probe.absolute = None if screen_absolute is None else torch.from_numpy(screen_absolute)
        v_pose = None
        if pose is not None:
            v_pose = torch.zeros(4, 4)
            v_pose[:3] = torch.from_numpy(pose)
        return (*(torch.from_numpy(a) for a in out), v_pose, v_feature_array, None, None, None, None)


def rasterize_native(
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
    """The backend `native`: arguments as in `types.RasterizeBackend`, float32 on the CPU. Not differentiable twice."""
    options = {"sh_degree": sh_degree, "antialiased": antialiased, "depth": depth, "median_depth": median_depth}
    rgb, alpha, weighted_depth, median, picture = _Rasterize.apply(
        means, log_scales, quats, opacity_logits, sh, camera_from_world, features, _Lease(), camera, options, probe
    )  # pyright: ignore[reportGeneralTypeIssues]
    expected = None
    if depth:
        expected = torch.where(alpha > 0, weighted_depth / torch.where(alpha > 0, alpha, 1), 0)
    return Rasterized(
        rgb=rgb + (1 - alpha)[..., None] * background,
        alpha=alpha,
        depth=expected,
        median_depth=median,
        features=picture,
    )
