"""Relocation: "3D Gaussian Splatting as Markov Chain Monte Carlo" (Kheradmand et al. 2024).

Dead Gaussians move onto living ones drawn by opacity, and the count grows by 5 % at a time; opacity and scale of the
copies follow eq. 9, so that the picture stays as it was.
"""

from __future__ import annotations

from math import comb

import numpy as np

from scenerep.splats.config import DensifyConfig
from scenerep.splats.densify.base import logit
from scenerep.splats.model import Model

_GROWTH = 1.05
_MOST_COPIES = 51
_BINOMIALS = np.array([[comb(n, k) for k in range(_MOST_COPIES)] for n in range(_MOST_COPIES)], dtype=np.float64)


def share(opacity: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Opacity [n], and factor of the scale [n], of each of `copies` [n] Gaussians that stand for one (eq. 9)."""
    copies = np.clip(copies, 1, _MOST_COPIES - 1)
    opacity = np.clip(opacity, 1e-6, 1 - 1e-6)
    new = 1.0 - (1.0 - opacity) ** (1.0 / copies)
    denominator = np.zeros_like(opacity)
    for i in range(1, int(copies.max(initial=1)) + 1):
        for k in range(i):
            term = _BINOMIALS[i - 1, k] * (-1.0) ** k / np.sqrt(k + 1.0) * new ** (k + 1)
            denominator += np.where(i <= copies, term, 0.0)
    return new, opacity / np.maximum(denominator, 1e-12)


class Mcmc:
    def __init__(self, config: DensifyConfig, budget: int, initial: int, scene_scale: float) -> None:
        self._config, self._budget = config, budget

    def refine(self, model: Model, progress: float, previous: float, rng: np.random.Generator) -> None:
        opacity = model.opacities
        dead = np.flatnonzero(opacity < self._config.dead_opacity)
        added = max(0, min(self._budget, int(_GROWTH * model.count)) - model.count)
        weights = np.where(opacity < self._config.dead_opacity, 0.0, opacity.astype(np.float64))
        if weights.sum() <= 0:
            model.forget_statistics()
            return
        drawn = rng.choice(model.count, size=len(dead) + added, p=weights / weights.sum())
        parents, copies = np.unique(drawn, return_counts=True)
        new_opacity, factor = share(opacity[parents].astype(np.float64), copies + 1)
        values = model.gather(parents)
        values["opacity_logits"] = logit(np.maximum(new_opacity, self._config.dead_opacity)).astype(np.float32)
        values["log_scales"] = values["log_scales"] + np.log(factor)[:, None].astype(np.float32)
        model.write(parents, values)
        place = np.searchsorted(parents, drawn)
        offspring = {name: a[place] for name, a in values.items()}
        model.write(dead, {name: a[: len(dead)] for name, a in offspring.items()})
        model.append({name: a[len(dead) :] for name, a in offspring.items()})
        model.forget_statistics()
