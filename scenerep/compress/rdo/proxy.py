"""A differentiable stand-in for the bits: a log2(1 + |r| / step), r the distance from the prediction.

This is the cost of a heavy-tailed residual under an adaptive coder; `a` is set for each kind of number so that the
sum is what the coder really spends. The prediction is the mean of the three nearest Gaussians' values, and zero for SH.
Its slope pulls hardest where a residual is nearly zero anyway, and hardly at all where it is needed.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from scenerep.coding import QuantisedSplats, symbol_bits
from scenerep.coding.quantised import rotation_vectors, ycocg_from_rgb
from scenerep.compress.rdo.curvature import YCOCG, coordinates
from scenerep.geometry.sh import C0
from scenerep.scenes import Gaussians

_NEIGHBOURS = 3
_SMOOTH = 0.25  # steps: rounds off the corner at zero


class RateProxy:
    """Slopes of the bits by the parameters of a scene.

    Args:
        q: The scene as it would be coded now; sets the constants and the neighbours.
        geometry: Pull scales, rotations, opacities and colours towards their neighbours, too.
    """

    def __init__(self, scene: Gaussians, q: QuantisedSplats, geometry: bool = True) -> None:
        spent = {name: float(bits.sum()) for name, bits in symbol_bits(q).items()}
        s = q.quantiser
        self._steps = {
            "log_scales": np.full(3, s.log_scale),
            "rotations": np.full(3, s.rotation),
            "opacities": np.array(s.opacity),
            "colours": np.array([s.colour_luma, s.colour_chroma, s.colour_chroma]),
            "sh": s.sh_steps(),
        }
        self._names = ("log_scales", "rotations", "opacities", "colours") if geometry else ()
        self._neighbours = self._nearest(scene.means)
        x = coordinates(scene)
        self._price = {}
        for name in self._names:
            proxy = np.log2(1 + np.abs(self._residual(x[name])) / self._steps[name]).sum()
            self._price[name] = spent[name] / max(float(proxy), 1.0)
        k = q.sh.shape[1]
        self._k = k
        proxy = np.log2(1 + np.abs(x["sh"][:, :k]) / self._steps["sh"]).sum(axis=(0, 2))
        self._price_sh = np.zeros((k, 1))
        for band in range(1, int(np.sqrt(k + 1))):
            part = slice(band * band - 1, (band + 1) ** 2 - 1)
            self._price_sh[part] = spent[f"sh{band}"] / max(float(proxy[part].sum()), 1.0)

    def slopes(self, scene: Gaussians) -> dict[str, np.ndarray]:
        """d bits / d parameter, float32, for the arrays of the scene that have one."""
        out: dict[str, np.ndarray] = {}
        if "log_scales" in self._names:
            out["log_scales"] = self._slope("log_scales", scene.log_scales)
            quats = scene.quats / np.linalg.norm(scene.quats, axis=1, keepdims=True)
            turned = self._slope("rotations", rotation_vectors(quats))
            out["quats"] = np.zeros_like(scene.quats)
            out["quats"][:, 1:] = turned * (2 / (1 + np.abs(quats[:, :1]))) * np.where(quats[:, :1] < 0, -1, 1)
            opacity = 1 / (1 + np.exp(-scene.opacity_logits))
            out["opacity_logits"] = self._slope("opacities", opacity) * opacity * (1 - opacity)
        sh = np.zeros(scene.sh.shape, np.float32)
        if "colours" in self._names:
            sh[:, 0] = self._slope("colours", ycocg_from_rgb(scene.sh[:, 0]) * C0) @ YCOCG * C0
        values = scene.sh[:, 1 : 1 + self._k] @ YCOCG.T
        steps, price = self._steps["sh"].astype(np.float32), self._price_sh.astype(np.float32)
        sh[:, 1 : 1 + self._k] = _slope(values, steps, price) @ YCOCG
        out["sh"] = sh
        return {name: np.ascontiguousarray(a, np.float32) for name, a in out.items()}

    def _slope(self, name: str, values: np.ndarray) -> np.ndarray:
        return _slope(self._residual(values), self._steps[name], self._price[name])

    def _residual(self, values: np.ndarray) -> np.ndarray:
        return values - values[self._neighbours].mean(axis=1)

    @staticmethod
    def _nearest(means: np.ndarray) -> np.ndarray:
        k = min(_NEIGHBOURS, len(means) - 1)
        if k < 1:
            return np.zeros((len(means), 1), int)
        found = cKDTree(means).query(means, k=k + 1, workers=-1)[1]
        return found[:, 1:]


def _slope(residual: np.ndarray, step: np.ndarray, price: np.ndarray | float) -> np.ndarray:
    size = np.abs(residual)
    smooth = residual / np.maximum(size, _SMOOTH * step)
    return price * smooth / ((step + size) * np.log(2))
