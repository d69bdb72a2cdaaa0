"""Growth to a stated count: Gaussians drawn by their screen gradient are split along the long axis, dead ones reused.

The count follows a geometric curve, so that early steps are cheap and the last Gaussians still have time to settle.
The draw is proportional to the mean screen gradient times sqrt(opacity): where the picture is wrong and something
opaque enough is there to be split. The long-axis split is that of "Efficient Density Control for 3D Gaussian
Splatting" (Deng et al. 2024) with other constants.
"""

from __future__ import annotations

import numpy as np

from scenerep.splats.config import DensifyConfig
from scenerep.splats.densify.base import draw, split_long_axis
from scenerep.splats.model import Model
from scenerep.splats.schedule import target_count


class Budget:
    def __init__(self, config: DensifyConfig, budget: int, initial: int, scene_scale: float) -> None:
        self._config, self._budget, self._initial = config, budget, initial

    def refine(self, model: Model, progress: float, previous: float, rng: np.random.Generator) -> None:
        opacity = model.opacities
        dead = opacity < self._config.dead_opacity
        alive = int((~dead).sum())
        if alive == 0:  # nobody to be split: without them the scene would be empty for good
            model.forget_statistics()
            return
        target = target_count(self._initial, self._budget, progress, self._config.grow_until)
        mean = model.screen_norm[: model.count] / np.maximum(model.screen_count[: model.count], 1)
        weights = np.where(dead, 0.0, mean * np.sqrt(opacity))
        parents = draw(weights, target - alive, rng)
        first, second = split_long_axis(model.gather(parents))
        free = np.flatnonzero(dead)[: len(parents)]
        reused = len(free)
        model.write(free, {name: a[:reused] for name, a in second.items()})
        model.append({name: a[reused:] for name, a in second.items()})
        model.write(parents, first)
        left = np.zeros(model.count, dtype=bool)
        left[np.flatnonzero(dead)[len(parents) :]] = True
        if left.any():
            model.remove(left)
        model.forget_statistics()
