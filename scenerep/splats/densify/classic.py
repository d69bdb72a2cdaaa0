"""Adaptive density control of 3D Gaussian Splatting (Kerbl et al. 2023, section 5.2), cut off at the budget.

Gaussians whose mean screen gradient is above a threshold are cloned if small and split if large; transparent ones are
removed, and opacities are reset now and then so that what is not needed can fade.
"""

from __future__ import annotations

import numpy as np

from scenerep.geometry.quaternions import rotation_from_quaternion
from scenerep.splats.config import DensifyConfig
from scenerep.splats.densify.base import draw, logit
from scenerep.splats.model import Model

_SMALL = 0.01  # of the scene's size: clone below, split above
_SPLIT_SHRINK = 1.6
_RESET_EVERY = 0.1  # share of the training (3000 of 30000 steps)
_RESET_UNTIL = 0.5
_RESET_TO = 0.01


class Classic:
    def __init__(self, config: DensifyConfig, budget: int, initial: int, scene_scale: float) -> None:
        self._config, self._budget, self._scale = config, budget, scene_scale

    def refine(self, model: Model, progress: float, previous: float, rng: np.random.Generator) -> None:
        n = model.count
        mean = model.screen_norm[:n] / np.maximum(model.screen_count[:n], 1)
        chosen = draw(np.where(mean > self._config.gradient_threshold, mean, 0.0), max(0, self._budget - n), rng)
        values = model.gather(chosen)
        large = np.exp(values["log_scales"].max(axis=1)) > _SMALL * self._scale
        clones = {name: a[~large] for name, a in values.items()}
        parents = {name: a[large] for name, a in values.items()}
        model.append(clones)
        for replace in (True, False):
            child = {name: a.copy() for name, a in parents.items()}
            local = rng.normal(size=child["means"].shape) * np.exp(child["log_scales"])
            child["means"] += np.einsum("nij,nj->ni", rotation_from_quaternion(child["quats"]), local).astype(
                np.float32
            )
            child["log_scales"] -= np.float32(np.log(_SPLIT_SHRINK))
            if replace:
                model.write(chosen[large], child)
            else:
                model.append(child)
        gone = model.opacities < self._config.dead_opacity
        if gone.any() and not gone.all():
            model.remove(gone)
        # None near the end: opacities need time to come back.
        if int(progress / _RESET_EVERY) > int(previous / _RESET_EVERY) and progress < _RESET_UNTIL:
            rows = np.arange(model.count)
            limit = logit(np.array(_RESET_TO, dtype=np.float32))
            model.write(rows, {"opacity_logits": np.minimum(model.params["opacity_logits"], limit)})
        model.forget_statistics()
