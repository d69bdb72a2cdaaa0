"""The specification of rasterisation in plain torch, and the torch baseline of the benchmarks.

Tiles are blended one by one, dense over [pixels, Gaussians] inside; autograd differentiates a tile, and the backward
pass computes every tile anew, so that memory holds one tile's intermediates at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scenerep.geometry.cameras import Camera
from scenerep.render.constants import ALPHA_MAX, ALPHA_MIN, MEDIAN_TRANSMITTANCE, TRANSMITTANCE_STOP
from scenerep.render.projection import Ellipses, colours, pixel_rectangles, project, visible_order
from scenerep.render.types import Rasterized, ScreenProbe

# Gaussians of a tile blended at a time: a tile whose pixels are all opaque looks at no more than the next multiple.
_CHUNK = 256


def rasterize_reference(
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
    tile_px: int = 16,
) -> Rasterized:
    """The backend `reference`: arguments as in `types.RasterizeBackend`, float32 or float64, any device.

    tile_px: Side of a tile; changes time and memory, and the result by rounding only.
    """
    with torch.no_grad():
        everything = project(means, log_scales, quats, opacity_logits, camera, camera_from_world, antialiased)
        index = visible_order(everything, camera)
    # Projected again with gradients, the visible ones only: 0 times the infinity of a culled one would be NaN.
    ellipses = project(
        means[index], log_scales[index], quats[index], opacity_logits[index], camera, camera_from_world, antialiased
    )
    values = [colours(means[index], sh[index], camera_from_world, sh_degree)]
    if depth:
        values.append(ellipses.depths[:, None])
    if features is not None:
        values.append(features[index])
    if probe is not None:
        probe.visible = torch.zeros(len(means), dtype=torch.bool, device=means.device).index_fill_(0, index, True)

    image, alpha, median = _Blend.apply(
        ellipses.centres,
        ellipses.conics,
        ellipses.opacities,
        torch.cat(values, dim=1),
        _Tiles(ellipses, camera, tile_px),
        None if probe is None else _Report(probe, index, len(means), 3 + depth),
        median_depth,
    )  # pyright: ignore[reportGeneralTypeIssues]
    return Rasterized(
        rgb=image[..., :3] + (1 - alpha)[..., None] * background,
        alpha=alpha,
        depth=torch.where(alpha > 0, image[..., 3] / torch.where(alpha > 0, alpha, 1), 0) if depth else None,
        median_depth=median if median_depth else None,
        features=None if features is None else image[..., 3 + depth :],
    )


class _Tiles:
    """The tiles of a picture and the ellipses that reach into each, front to back."""

    def __init__(self, ellipses: Ellipses, camera: Camera, tile_px: int) -> None:
        self.first, self.last = pixel_rectangles(ellipses, camera)
        self.depths = ellipses.depths.detach()
        self.width, self.height, self.tile_px = camera.width, camera.height, tile_px

    def __iter__(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Rows, columns and ellipses of every tile that has any."""
        for top in range(0, self.height, self.tile_px):
            rows = slice(top, min(top + self.tile_px, self.height))
            in_row = ((self.first[:, 1] < rows.stop) & (self.last[:, 1] >= top)).nonzero()[:, 0]
            first, last = self.first[in_row, 0], self.last[in_row, 0]
            for left in range(0, self.width, self.tile_px):
                columns = slice(left, min(left + self.tile_px, self.width))
                ids = in_row[(first < columns.stop) & (last >= left)]
                if len(ids):
                    yield rows, columns, ids


class _Report:
    """Writes what a backward pass found into a probe: m visible Gaussians, n in the scene.

    The absolute gradients are those of the first `channels` of the picture (and of alpha).
    """

    def __init__(self, probe: ScreenProbe, index: Tensor, count: int, channels: int) -> None:
        self.probe, self.index, self.count, self.channels = probe, index, count, channels

    def write(self, gradient: Tensor, absolute: Tensor | None) -> None:
        self.probe.gradient = gradient.new_zeros(self.count, 2).index_copy_(0, self.index, gradient)
        if absolute is not None:
            self.probe.absolute = gradient.new_zeros(self.count, 2).index_copy_(0, self.index, absolute)


class _Blend(torch.autograd.Function):
    """Blend all tiles: image [h, w, c] without background, alpha [h, w], median depth [h, w]."""

    @staticmethod
    def forward(
        ctx: Any,
        centres: Tensor,
        conics: Tensor,
        opacities: Tensor,
        values: Tensor,
        tiles: _Tiles,
        report: _Report | None,
        wants_median: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(centres, conics, opacities, values)
        ctx.tiles, ctx.report = tiles, report
        image = values.new_zeros(tiles.height, tiles.width, values.shape[1])
        alpha = values.new_zeros(tiles.height, tiles.width)
        median = values.new_zeros(tiles.height, tiles.width)
        for rows, columns, ids in tiles:
            inputs = (centres[ids], conics[ids], opacities[ids], values[ids])
            depths = tiles.depths[ids] if wants_median else None
            blended = _blend_tile(rows, columns, *inputs, depths)
            image[rows, columns], alpha[rows, columns] = blended.image, blended.alpha
            if blended.median is not None:
                median[rows, columns] = blended.median
        ctx.mark_non_differentiable(median)
        return image, alpha, median

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_image: Tensor, d_alpha: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        grads = [torch.zeros_like(array) for array in inputs]
        report: _Report | None = ctx.report
        absolute = torch.zeros_like(grads[0]) if report is not None and report.probe.wants_absolute else None
        for rows, columns, ids in ctx.tiles:
            chosen = [array[ids].requires_grad_() for array in inputs]
            with torch.enable_grad():
                blended = _blend_tile(rows, columns, *chosen)
            outputs, upstream = (blended.image, blended.alpha), (d_image[rows, columns], d_alpha[rows, columns])
            found = torch.autograd.grad(outputs, chosen, upstream, retain_graph=absolute is not None)
            for total, part in zip(grads, found):
                total.index_add_(0, ids, part)
            if report is not None and absolute is not None:
                d_main = upstream[0].clone()
                d_main[..., report.channels :] = 0
                d_sigmas = torch.autograd.grad(outputs, blended.sigmas, (d_main, upstream[1]))
                part = _absolute(rows, columns, chosen[0].detach(), chosen[1].detach(), d_sigmas)
                absolute.index_add_(0, ids[: len(part)], part)
        if report is not None:
            report.write(grads[0], absolute)
        return *grads, None, None, None


class _Blended:
    """One tile of height h and width w: image [h, w, c], alpha [h, w], median [h, w], sigmas: a list of [g, h, w]."""

    def __init__(self, image: Tensor, alpha: Tensor, median: Tensor | None, sigmas: list[Tensor]) -> None:
        self.image, self.alpha, self.median, self.sigmas = image, alpha, median, sigmas


def _offsets(rows: slice, columns: slice, centres: Tensor) -> tuple[Tensor, Tensor]:
    """From pixel centres to ellipse centres: [g, 1, w] and [g, h, 1]."""
    x = torch.arange(columns.start, columns.stop, dtype=centres.dtype, device=centres.device) + 0.5
    y = torch.arange(rows.start, rows.stop, dtype=centres.dtype, device=centres.device) + 0.5
    return (centres[:, :1] - x)[:, None, :], (centres[:, 1:] - y)[:, :, None]


def _blend_tile(
    rows: slice,
    columns: slice,
    centres: Float[Tensor, "g 2"],
    conics: Float[Tensor, "g 3"],
    opacities: Float[Tensor, " g"],
    values: Float[Tensor, "g c"],
    depths: Float[Tensor, " g"] | None = None,
) -> _Blended:
    """Front-to-back blending of one tile: the rules of docs/rasterisation.md, section Blending."""
    h, w = rows.stop - rows.start, columns.stop - columns.start
    image = values.new_zeros(h * w, values.shape[1])
    # Transmittance before the next Gaussian; it goes on falling after a pixel is done, which keeps it done.
    through = values.new_ones(h * w)
    alpha_sum = values.new_zeros(h * w)
    median = None if depths is None else values.new_zeros(h * w)
    sigmas = []
    for start in range(0, len(centres), _CHUNK):
        part = slice(start, start + _CHUNK)
        dx, dy = _offsets(rows, columns, centres[part])
        a, b, c = conics[part].T[:, :, None, None]
        sigma = (0.5 * a * dx * dx + 0.5 * c * dy * dy) + (b * dy) * dx
        alpha = (opacities[part, None, None] * torch.exp(-sigma)).clamp(max=ALPHA_MAX)
        alpha = torch.where((alpha >= ALPHA_MIN) & (sigma >= 0), alpha, 0).reshape(-1, h * w)
        after = through * torch.cumprod(1 - alpha, dim=0)
        before = torch.cat([through[None], after[:-1]])
        weights = torch.where(after > TRANSMITTANCE_STOP, alpha * before, 0)
        image = image + weights.T @ values[part]
        alpha_sum = alpha_sum + weights.sum(0)  # = 1 - product of the blended (1 - alpha)
        sigmas.append(sigma)
        if median is not None and depths is not None:
            passed = (after >= MEDIAN_TRANSMITTANCE).sum(0)
            crossed = (through >= MEDIAN_TRANSMITTANCE) & (passed < len(after))
            median = torch.where(crossed, depths[part][passed.clamp(max=len(after) - 1)], median)
        through = torch.where(after[-1] > TRANSMITTANCE_STOP, after[-1], 0)
        if not through.any():
            break
    return _Blended(
        image.reshape(h, w, -1), alpha_sum.reshape(h, w), None if median is None else median.reshape(h, w), sigmas
    )


def _absolute(rows: slice, columns: slice, centres: Tensor, conics: Tensor, d_sigmas: tuple[Tensor, ...]) -> Tensor:
    """Sum over the pixels of |d loss / d centre| [g, 2]: the quadratic form's derivative times d loss / d sigma."""
    out = []
    for start, d_sigma in zip(range(0, len(centres), _CHUNK), d_sigmas):
        part = slice(start, start + _CHUNK)
        dx, dy = _offsets(rows, columns, centres[part])
        a, b, c = conics[part].T[:, :, None, None]
        du = (d_sigma * (a * dx + b * dy)).abs().sum((1, 2))
        dv = (d_sigma * (b * dx + c * dy)).abs().sum((1, 2))
        out.append(torch.stack([du, dv], dim=1))
    return torch.cat(out)
