"""A differentiable stand-in for the bits: a log2(1 + |r| / step), r the distance from the prediction.

This is the cost of a heavy-tailed residual under an adaptive coder; `a` is set for each kind of number so that the
sum is what the coder really spends. The prediction is the mean of the three nearest Gaussians' values, and zero for SH.
Its slope pulls hardest where a residual is nearly zero anyway, and hardly at all where it is needed.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

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
        arrays: `steps.NAME`, `price.NAME` for each kind of number, and `neighbours` int64 [n, 3]; see `of`.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self._steps, self._price = (
            {name.partition(".")[2]: a for name, a in arrays.items() if name.startswith(prefix)}
            for prefix in ("steps.", "price.")
        )
        self._neighbours = arrays["neighbours"]
        self._k = len(self._steps["sh"])

    @classmethod
    def of(cls, scene: Gaussians, q: QuantisedSplats) -> RateProxy:
        """For a scene that would be coded as `q` now, which sets the constants and the neighbours."""
        spent = {name: float(bits.sum()) for name, bits in symbol_bits(q).items()}
        s, k = q.quantiser, q.sh.shape[1]
        steps = {
            "log_scales": np.full(3, s.log_scale),
            "rotations": np.full(3, s.rotation),
            "opacities": np.array(s.opacity),
            "colours": np.array([s.colour_luma, s.colour_chroma, s.colour_chroma]),
            "sh": s.sh_steps(),
        }
        arrays = {f"steps.{name}": a for name, a in steps.items()}
        neighbours = arrays["neighbours"] = _nearest(scene.means)
        x = coordinates(scene)
        for name in ("log_scales", "rotations", "opacities", "colours"):
            proxy = np.log2(1 + np.abs(_residual(x[name], neighbours)) / steps[name]).sum()
            arrays[f"price.{name}"] = np.array(spent[name] / max(float(proxy), 1.0))
        proxy = np.log2(1 + np.abs(x["sh"][:, :k]) / steps["sh"]).sum(axis=(0, 2))
        price = arrays["price.sh"] = np.zeros((k, 1))
        for band in range(1, int(np.sqrt(k + 1))):
            part = slice(band * band - 1, (band + 1) ** 2 - 1)
            price[part] = spent[f"sh{band}"] / max(float(proxy[part].sum()), 1.0)
        return cls(arrays)

    def slopes(self, scene: Gaussians) -> dict[str, np.ndarray]:
        """d bits / d parameter, float32, for the arrays of the scene that have one."""
        quats = scene.quats / np.linalg.norm(scene.quats, axis=1, keepdims=True)
        turned = self._slope("rotations", rotation_vectors(quats))
        by_quats = np.zeros_like(scene.quats)
        by_quats[:, 1:] = turned * (2 / (1 + np.abs(quats[:, :1]))) * np.where(quats[:, :1] < 0, -1, 1)
        opacity = 1 / (1 + np.exp(-scene.opacity_logits))
        sh = np.zeros(scene.sh.shape, np.float32)
        sh[:, 0] = self._slope("colours", ycocg_from_rgb(scene.sh[:, 0]) * C0) @ YCOCG * C0
        values = scene.sh[:, 1 : 1 + self._k] @ YCOCG.T
        steps, price = self._steps["sh"].astype(np.float32), self._price["sh"].astype(np.float32)
        sh[:, 1 : 1 + self._k] = _slope(values, steps, price) @ YCOCG
        out = {
            "log_scales": self._slope("log_scales", scene.log_scales),
            "quats": by_quats,
            "opacity_logits": self._slope("opacities", opacity) * opacity * (1 - opacity),
            "sh": sh,
        }
        return {name: np.ascontiguousarray(a, np.float32) for name, a in out.items()}

    def _slope(self, name: str, values: np.ndarray) -> np.ndarray:
        return _slope(_residual(values, self._neighbours), self._steps[name], self._price[name])


def _residual(values: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    return values - values[neighbours].mean(axis=1)


def _nearest(means: np.ndarray) -> np.ndarray:
    k = min(_NEIGHBOURS, len(means) - 1)
    if k < 1:
        return np.zeros((len(means), 1), np.int64)
    return np.asarray(KDTree(means).query(means, k=k + 1, workers=-1)[1])[:, 1:]


def _slope(residual: np.ndarray, step: np.ndarray, price: np.ndarray) -> np.ndarray:
    size = np.abs(residual)
    smooth = residual / np.maximum(size, _SMOOTH * step)
    return price * smooth / ((step + size) * np.log(2))
