"""Plain Gaussians of an anchored scene: what the renderer, the viewer and the exporters take.

The prediction is computed in float64 and rounded once to float32, so that renders may differ between machines in the
last bit, as with exp and log elsewhere; the integers that it starts from do not.
"""

from __future__ import annotations

import numpy as np

from scenerep.coding.anchored.scene import GEOMETRY, PREDICTION_BITS, AnchoredSplats
from scenerep.coding.quantised import rgb_from_ycocg
from scenerep.scenes import Gaussians

_ROWS = 4096  # anchors at a time
_LOG_LIMIT = 30.0  # of log scales and the reach: e^30 is beyond any scene
_LIMIT = 1e6  # of a logit, a colour, an offset in units of the reach


def bake(scene: AnchoredSplats) -> Gaussians:
    """All coupled primitives, anchor after anchor; faded ones too, since which these are depends on rounding."""
    parts = [_bake_rows(scene, slice(i, i + _ROWS)) for i in range(0, max(len(scene), 1), _ROWS)]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Gaussians(**arrays, antialiased=scene.antialiased, metadata=dict(scene.metadata))


def predict_primitives(scene: AnchoredSplats, rows: slice) -> np.ndarray:
    """float64 [n * K, D]: x S + H(x) with x the reference and residual embedding side by side (see Layout)."""
    w = {
        name.partition(".")[2]: array / 2.0**PREDICTION_BITS
        for name, array in scene.weights.items()
        if name.startswith("prediction.")
    }
    steps = scene.embedding_steps.astype(np.float64)
    reference = np.repeat(scene.reference[rows] * steps[0], scene.layout.coupled, axis=0)
    residual = scene.residual[rows].reshape(-1, scene.layout.residual) * steps[1]
    x = np.concatenate([reference, residual], axis=1)
    h = np.maximum(x @ w["fuse"] + w["fuse_bias"], 0)
    h = h + np.maximum(h @ w["deepen"] + w["deepen_bias"], 0)
    return np.clip(x @ w["skip"] + h @ w["head"] + w["bias"], -_LIMIT, _LIMIT)


def _bake_rows(scene: AnchoredSplats, rows: slice) -> dict[str, np.ndarray]:
    k = scene.layout.coupled
    y = predict_primitives(scene, rows)
    scales = np.clip(scene.scales[rows] * scene.scale_steps.astype(np.float64), -_LOG_LIMIT, _LOG_LIMIT)
    anchors = np.repeat(scene.grid.world(scene.positions[rows]), k, axis=0)
    reach, deviation = (np.repeat(s, k, axis=0) for s in (scales[:, :3], scales[:, 3:]))
    g = y[:, 6:9]
    s = (g * g).sum(axis=1, keepdims=True) / 4
    arrays = {
        "means": anchors + np.exp(reach) * y[:, :3],
        "log_scales": np.clip(deviation + y[:, 3:6], -_LOG_LIMIT, _LOG_LIMIT),
        "quats": np.concatenate([1 - s, g], axis=1) / (1 + s),
        "opacity_logits": y[:, 9],
        "sh": rgb_from_ycocg(y[:, GEOMETRY:].reshape(len(y), (y.shape[1] - GEOMETRY) // 3, 3)),
    }
    return {name: a.astype(np.float32) for name, a in arrays.items()}
