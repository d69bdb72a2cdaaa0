"""Two scenes compared: how far their attributes are apart, and how far their renders.

Formats that pack scenes also reorder them, so Gaussians are paired by position. a is the reference, b the other;
n = pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from scenerep.geometry.cameras import Camera
from scenerep.geometry.quaternions import rotation_from_quaternion
from scenerep.metrics.quality import psnr, ssim
from scenerep.render import render
from scenerep.scenes import Gaussians

_VISIBLE = 0.5  # alpha above which a pixel counts as the object


def pair(a: Gaussians, b: Gaussians) -> tuple[np.ndarray, np.ndarray, str]:
    """(indices into a [n], indices into b [n], how): `order` if row i is row i, `nearest` if found by position.

    Nearest: each Gaussian of b with the closest of a, in position and degree-0 colour, each of a used once.
    """
    if len(a) == 0 or len(b) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), "order"
    # Positions rule; colours, weighted by the spacing of neighbours, tell apart what lies in one place.
    spacing = float(np.median(KDTree(a.means).query(a.means, k=min(2, len(a)))[0].reshape(len(a), -1)[:, -1]))
    if len(a) == len(b):
        rows = np.arange(len(a))
        if np.median(np.linalg.norm(a.means - b.means, axis=1)) <= 0.5 * spacing:
            return rows, rows, "order"

    def features(scene: Gaussians) -> np.ndarray:
        return np.concatenate([scene.means, spacing * scene.sh[:, 0], 0.2 * spacing * scene.log_scales], axis=1)

    distance, index = (np.asarray(found) for found in KDTree(features(a)).query(features(b)))
    order = np.argsort(distance, kind="stable")
    _, first = np.unique(index[order], return_index=True)
    in_b = np.sort(order[first])
    return index[in_b], in_b, "nearest"


def attribute_errors(a: Gaussians, b: Gaussians) -> dict[str, Any]:
    """Errors of the paired Gaussians: per attribute the root mean square, the 99th percentile and the largest.

    position: distance, world units; log_scale: natural logarithms, of the sizes in ascending order; opacity: 0 to 1;
    colour: of degree 0, 0 to 1; sh: coefficients of degree 1 and more, missing ones count as zero; shape: Frobenius
    norm of the difference of covariances, over that of a's (the same for all of a rotation's equal forms).
    """
    in_a, in_b, how = pair(a, b)
    left, right = a.select(in_a), b.select(in_b)
    k = max(a.sh.shape[1], b.sh.shape[1])
    sh = [np.pad(s.sh, ((0, 0), (0, k - s.sh.shape[1]), (0, 0))) for s in (left, right)]
    covariances = [_covariances(s) for s in (left, right)]
    size = np.maximum(np.linalg.norm(covariances[0], axis=(1, 2)), 1e-30)
    errors = {
        "position": np.linalg.norm(left.means.astype(np.float64) - right.means, axis=1),
        "log_scale": np.abs(np.sort(left.log_scales, axis=1) - np.sort(right.log_scales, axis=1)),
        "opacity": np.abs(_sigmoid(left.opacity_logits) - _sigmoid(right.opacity_logits)),
        "colour": np.abs(sh[0][:, 0] - sh[1][:, 0]) * 0.28209479177387814,
        "sh": np.abs(sh[0][:, 1:] - sh[1][:, 1:]),
        "shape": np.linalg.norm(covariances[0] - covariances[1], axis=(1, 2)) / size,
    }
    return {"pairs": len(in_a), "paired_by": how} | {name: _summary(error) for name, error in errors.items()}


def render_difference(
    a: Gaussians, b: Gaussians, cameras: Sequence[Camera], background: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> dict[str, Any]:
    """PSNR and SSIM of b's renders against a's, mean over the cameras; `psnr_in_mask` where a's alpha exceeds 0.5.

    Renders are clipped to [0, 1]. A difference of nothing has an infinite PSNR.
    """
    rows = []
    for camera in cameras:
        drawn = [render(scene, camera, background=background) for scene in (a, b)]
        first, second = (np.clip(picture.rgb, 0, 1) for picture in drawn)
        mask = drawn[0].alpha > _VISIBLE
        inside = psnr(second, first, mask) if mask.any() else None
        rows.append((psnr(second, first), ssim(second, first), inside))
    if not rows:
        return {"views": 0, "psnr": None, "psnr_least": None, "ssim": None, "psnr_in_mask": None}
    full = [row[0] for row in rows]
    masked = [row[2] for row in rows if row[2] is not None]
    return {
        "views": len(rows),
        "psnr": float(np.mean(full)),
        "psnr_least": float(np.min(full)),
        "ssim": float(np.mean([row[1] for row in rows])),
        "psnr_in_mask": float(np.mean(masked)) if masked else None,
    }


def _covariances(scene: Gaussians) -> np.ndarray:
    """float64 [n, 3, 3]."""
    if len(scene) == 0:
        return np.zeros((0, 3, 3))
    axes = rotation_from_quaternion(scene.quats) * np.exp(scene.log_scales.astype(np.float64))[:, None, :]
    return axes @ axes.transpose(0, 2, 1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * x.astype(np.float64))


def _summary(errors: np.ndarray) -> dict[str, float | None]:
    if errors.size == 0:
        return {"rms": None, "p99": None, "max": None}
    flat = errors.reshape(-1).astype(np.float64)
    return {
        "rms": float(np.sqrt(np.mean(flat**2))),
        "p99": float(np.percentile(flat, 99)),
        "max": float(flat.max()),
    }
