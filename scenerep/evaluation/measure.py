"""Quality on held-out views.

Rules, the same for every number that the project reports:
- The render is clipped to [0, 1] and compared with the undistorted photograph at the capture's size. No exposure,
  colour or pose is fitted to the held-out picture, but for `psnr_fitted`, which has to be asked for.
- A picture with alpha is composited on the background that the scene is rendered on: white unless told otherwise, as
  is the custom for Blender scenes. Pictures without alpha are rendered on black, as they are trained.
- Pixels that undistortion left empty hold no photograph and count nowhere. A mask file or an alpha channel adds a
  second set of numbers, over its pixels only; the first one is over the whole picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scenerep import metrics
from scenerep.captures import Capture
from scenerep.errors import ConfigError, DataError, DeviceError
from scenerep.evaluation.fit import fitted_render
from scenerep.evaluation.pictures import Rgb, flatten
from scenerep.metrics.multiscale import SMALLEST as MS_SSIM_SMALLEST
from scenerep.render import render
from scenerep.render.types import Backend
from scenerep.scenes import Scene

if TYPE_CHECKING:
    from scenerep.voxels.grid import Grid
    from scenerep.voxels.mip_grid import MipGrid

Progress = Callable[[str, int, int], None]

# Half covered counts as object: the usual threshold for an alpha channel.
_INSIDE = 0.5


@dataclass(frozen=True)
class ViewScore:
    """One held-out view. `index` counts the capture's views; None where a measure does not apply."""

    name: str
    index: int
    psnr: float
    ssim: float
    ms_ssim: float | None
    lpips: float | None
    psnr_masked: float | None
    ssim_masked: float | None
    psnr_fitted: float | None


@dataclass(frozen=True)
class Evaluation:
    """Means over the views. psnr in dB; ssim, ms_ssim in [-1, 1]; lpips >= 0, smaller is better.

    ms_ssim is None if a picture is too small for its five scales, lpips where the package or its weights are not
    installed, `*_masked` if no view has a mask or alpha, `psnr_fitted` unless asked for. count: Gaussians or voxels
    of the scene.
    """

    psnr: float
    ssim: float
    ms_ssim: float | None
    lpips: float | None
    psnr_masked: float | None
    ssim_masked: float | None
    psnr_fitted: float | None
    count: int
    background: Rgb
    views: tuple[ViewScore, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for json.dumps."""
        return dataclasses.asdict(self)


def evaluate(
    scene: Scene | Grid | MipGrid,
    capture: Capture,
    views: Sequence[int] | None = None,
    progress: Progress | None = None,
    *,
    background: Rgb | None = None,
    backend: Backend = "auto",
    basic: bool = False,
    fit: bool = False,
) -> Evaluation:
    """Render the held-out views and compare them with the photographs; the rules stand at the top of this module.

    Args:
        scene: What to measure.
        capture: Its photographs; size and undistortion are the capture's.
        views: Indices into `capture.views`; by default `capture.test`.
        progress: Called as progress("evaluating", done, total).
        background: What alpha is composited on and the scene rendered on; None: white with alpha, black without.
        backend: Of the rasteriser.
        basic: PSNR and SSIM of the whole picture only, which takes a tenth of the time.
        fit: Measure `psnr_fitted` too: the PSNR of the whole picture once the held-out picture's own pose and colours
            are fitted (fit.py), the comparison for trainings that refine poses or learn exposures.

    Raises:
        DataError: if there is no view to measure on, or a photograph cannot be read.
    """
    chosen = list(capture.test if views is None else views)
    if not chosen:
        hint = "open it with test_every=8, or name the views"
        raise DataError(f"{capture.root}: the capture has no held-out views to measure on", hint)
    wrong = [i for i in chosen if not 0 <= i < len(capture.views)]
    if wrong:
        raise ConfigError(
            f"view {wrong[0]} does not exist", f"{capture.root} has the views 0 to {len(capture.views) - 1}"
        )
    scores = []
    used: Rgb = background or (0.0, 0.0, 0.0)
    for done, i in enumerate(chosen):
        capture.prefetch(chosen[done + 1 : done + 2])
        truth, valid, inside, used = photograph(capture, i, background)
        image = render(scene, capture.camera(i), background=used, backend=backend).rgb.clip(0.0, 1.0)
        score = _score(capture.views[i].name, i, image, truth, valid, inside, basic)
        if fit:
            fitted = fitted_render(scene, capture.camera(i), truth, valid, used, backend)
            score = dataclasses.replace(score, psnr_fitted=metrics.psnr(fitted, truth, mask=valid))
        scores.append(score)
        if progress is not None:
            progress("evaluating", done + 1, len(chosen))
    means = {
        field.name: _mean([getattr(score, field.name) for score in scores])
        for field in dataclasses.fields(ViewScore)
        if field.name not in ("name", "index")
    }
    return Evaluation(**means, count=len(scene), background=used, views=tuple(scores))  # type: ignore[arg-type]


def photograph(
    capture: Capture, i: int, background: Rgb | None = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, Rgb]:
    """What a render of view `i` is compared with.

    Returns:
        truth: float32 [h, w, 3] in [0, 1], alpha composited on the background.
        valid: bool [h, w], False where there is no photograph (undistortion); None if it is everywhere.
        inside: bool [h, w] of the mask file or the alpha channel; None if the view has neither.
        background: What was used.
    """
    image = capture.image(i)
    has_alpha = image.shape[2] == 4
    used: Rgb = background if background is not None else ((1.0, 1.0, 1.0) if has_alpha else (0.0, 0.0, 0.0))
    mask = capture.mask(i)
    valid = inside = None
    if mask is not None:
        # Without a mask file, only undistortion can have made a mask.
        valid, inside = (mask, None) if capture.views[i].mask is None else (None, mask)
    if has_alpha:
        opaque = image[..., 3] >= _INSIDE * 255
        inside = opaque if inside is None else inside & opaque
    return flatten(image, used), valid, inside, used


def _score(
    name: str,
    i: int,
    image: np.ndarray,
    truth: np.ndarray,
    valid: np.ndarray | None,
    inside: np.ndarray | None,
    basic: bool,
) -> ViewScore:
    if valid is not None and not valid.all():
        image = np.where(valid[..., None], image, truth)  # MS-SSIM and LPIPS know no masks: equal pixels cost nothing
    else:
        valid = None
    if inside is not None and valid is not None:
        inside = inside & valid
    measured = inside is not None and bool(inside.any()) and not basic
    return ViewScore(
        name=name,
        index=i,
        psnr=metrics.psnr(image, truth, mask=valid),
        ssim=metrics.ssim(image, truth, mask=valid),
        ms_ssim=None if basic or min(truth.shape[:2]) < MS_SSIM_SMALLEST else metrics.ms_ssim(image, truth),
        lpips=None if basic else _lpips(image, truth),
        psnr_masked=metrics.psnr(image, truth, mask=inside) if measured else None,
        ssim_masked=metrics.ssim(image, truth, mask=inside) if measured else None,
        psnr_fitted=None,
    )


def _lpips(image: np.ndarray, truth: np.ndarray) -> float | None:
    try:
        return metrics.lpips(image, truth)
    except DeviceError:  # not installed
        return None


def _mean(values: list[float | None]) -> float | None:
    """Over the views that have the value; a perfect view (infinite PSNR) makes the mean infinite."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None
