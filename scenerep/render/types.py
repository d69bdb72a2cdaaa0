"""What goes through the door of the rasteriser, and what every backend has to offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from scenerep.geometry.cameras import Camera

Backend = Literal["auto", "native", "reference", "gsplat"]


@dataclass
class Rasterized:
    """Pictures of one view, on the device and with the dtype of the parameters. All but `median_depth` take gradients.

    rgb: over the background, >= 0 and not clipped at 1. alpha: 1 - remaining transmittance, in [0, 1).
    depth: sum of weight times camera z over alpha, 0 where alpha is 0. median_depth: camera z of the Gaussian at
    which the transmittance first falls below 0.5, 0 where it never does. features: sum of weight times feature.
    """

    rgb: Float[Tensor, "h w 3"]
    alpha: Float[Tensor, "h w"]
    depth: Float[Tensor, "h w"] | None = None
    median_depth: Float[Tensor, "h w"] | None = None
    features: Float[Tensor, "h w c"] | None = None


@dataclass
class Rendered:
    """The same as float32 numpy arrays, without gradients."""

    rgb: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray | None = None
    median_depth: np.ndarray | None = None


class ScreenProbe:
    """Listens to what happens to the projected centres; one probe serves one call of `rasterize`.

    Args:
        absolute: Fill `absolute` too (costs some time).

    visible [n], written by the forward pass: the Gaussian is not culled, and the rectangle around the ellipse where
    its alpha is >= 1/255 holds at least one pixel centre of the picture.
    gradient [n, 2], written by the backward pass: d loss / d projected centre, in loss per pixel; 0 where invisible.
    absolute [n, 2], likewise: the sum over the pixels of the absolute values of their contributions to `gradient`
    (AbsGS, arXiv 2404.10484), of rgb, alpha and depth but not of the features; None unless asked for.
    A second backward pass through the same picture overwrites both.
    """

    def __init__(self, absolute: bool = False) -> None:
        self.wants_absolute = absolute
        self.visible: Bool[Tensor, " n"] | None = None
        self.gradient: Float[Tensor, "n 2"] | None = None
        self.absolute: Float[Tensor, "n 2"] | None = None


class RasterizeBackend(Protocol):
    """A backend, called by `rasterize()` with everything checked and every default filled in.

    All tensors share one dtype and one device; `sh_degree` is <= that of `sh`; `camera` has no distortion and only its
    intrinsics and size count: the pose is `camera_from_world` [4, 4], rigid. Gradients flow to every floating
    tensor argument, `background`, `features` and `camera_from_world` included.
    """

    def __call__(
        self,
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
    ) -> Rasterized: ...
