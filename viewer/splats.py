"""What the browser draws: viser wants world covariances, one colour per Gaussian, and coordinates near 1.

n = Gaussians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenerep.geometry import sh as harmonics
from scenerep.geometry.quaternions import rotation_from_quaternion
from scenerep.scenes import Gaussians

# viser sends covariances as float16: normal numbers reach from 6e-5 to 65504. With the cameras some 10 units from the
# focus, the standard deviations that matter, 0.01 to 100 units, fall inside.
VIEW_DISTANCE = 10.0
_LARGEST_COVARIANCE = 6.0e4
_ALPHA_MIN = 1.0 / 255.0


@dataclass(frozen=True)
class Splats:
    """Arguments of viser's add_gaussian_splats: centers [n, 3], covariances [n, 3, 3], rgbs [n, 3] and opacities [n, 1]
    in [0, 1]; float32, in the viewer's coordinates: world times `scale`."""

    centers: np.ndarray
    covariances: np.ndarray
    rgbs: np.ndarray
    opacities: np.ndarray


def splats_for_browser(
    scene: Gaussians, scale: float, viewpoints: Sequence[np.ndarray] = (), most: int | None = None
) -> Splats:
    """Gaussians as viser draws them.

    Args:
        scene: What to show.
        scale: Viewer units per world unit.
        viewpoints: Positions [3] in the world; a Gaussian gets its mean colour as seen from them, as the browser draws
            no view-dependent colours. Without any, the colour of degree 0.
        most: Show at most so many, those with the largest opacity times area; None shows all.

    Gaussians that are nowhere opaque enough to be drawn (alpha < 1/255) are left out.
    """
    scene = scene.select(heaviest(scene, most))
    opacity = _opacities(scene)
    quats = scene.quats.astype(np.float64)
    quats[~quats.any(axis=1)] = (1.0, 0.0, 0.0, 0.0)  # the rasteriser takes a zero quaternion as no rotation, too
    # Clipped before exp: an overflow would turn into NaN in the product.
    axes = rotation_from_quaternion(quats) * np.exp(np.clip(scene.log_scales + np.log(scale), -50.0, 50.0))[:, None, :]
    covariances = axes @ axes.transpose(0, 2, 1)
    # One that is too large for float16 shrinks as a whole and keeps its shape.
    largest = np.abs(covariances).max(axis=(1, 2), keepdims=True, initial=0.0)
    covariances *= np.minimum(1.0, _LARGEST_COVARIANCE / np.maximum(largest, 1e-30))
    return Splats(
        centers=np.ascontiguousarray(scene.means * np.float32(scale)),
        covariances=covariances.astype(np.float32),
        rgbs=mean_colours(scene, viewpoints),
        opacities=opacity[:, None].astype(np.float32),
    )


def heaviest(scene: Gaussians, most: int | None = None) -> np.ndarray:
    """Indices, in order, of the Gaussians that are anywhere opaque enough to be drawn; of more than `most`, those with
    the largest opacity times area."""
    opacity = _opacities(scene)
    keep = np.flatnonzero(opacity >= _ALPHA_MIN)
    if most is not None and len(keep) > most:
        areas = np.sort(scene.log_scales[keep].astype(np.float64), axis=1)[:, 1:].sum(axis=1)
        weight = np.log(opacity[keep]) + areas
        keep = np.sort(keep[np.argpartition(-weight, most - 1)[:most]])
    return keep


def _opacities(scene: Gaussians) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-scene.opacity_logits.astype(np.float64)))


def mean_colours(scene: Gaussians, viewpoints: Sequence[np.ndarray]) -> np.ndarray:
    """float32 [n, 3] in [0, 1]: colour = max(0, 0.5 + SH(direction)), averaged over up to 12 of the viewpoints."""
    if scene.sh_degree == 0 or len(viewpoints) == 0:
        return np.clip(harmonics.rgb_from_dc(scene.sh[:, 0]), 0.0, 1.0).astype(np.float32)
    chosen = [viewpoints[i] for i in np.unique(np.linspace(0, len(viewpoints) - 1, 12).round().astype(int))]
    total = np.zeros((len(scene), 3), np.float32)
    for viewpoint in chosen:
        directions = scene.means - np.asarray(viewpoint, np.float32)
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
        total += np.maximum(0.0, 0.5 + harmonics.evaluate(scene.sh, directions))
    return np.clip(total / len(chosen), 0.0, 1.0)
