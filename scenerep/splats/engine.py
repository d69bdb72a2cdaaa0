"""One optimiser step: render, compare, differentiate, update. The CPU engine runs on native kernels and numpy arrays;
`engine_torch.py` does the same with torch, for CUDA and as the plain version that tests compare with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scenerep.native import native
from scenerep.splats.adam import BETA1, BETA2, EPSILON, adam_step
from scenerep.splats.config import SplatsConfig
from scenerep.splats.differentiate import Differentiator, View
from scenerep.splats.model import Model
from scenerep.splats.schedule import Rates


@dataclass(frozen=True, kw_only=True)
class StepInput(View):
    """What one step depends on besides the model.

    step: 1 at the first. `noise` is the strength of the random walk; `statistics` says whether to gather those of the
    refinement.
    """

    step: int
    rates: Rates
    noise: float
    statistics: bool


@dataclass(frozen=True)
class StepOutput:
    """loss: of picture and depth before the update. Gradients [3, 4] of the exposure and of camera_from_world."""

    loss: float
    exposure: np.ndarray | None
    pose: np.ndarray | None


class Engine(Protocol):
    def step(self, given: StepInput) -> StepOutput: ...

    def synchronise(self) -> None:
        """Brings `model` up to date, before anybody reads or changes it."""
        ...

    def reload(self) -> None:
        """Takes over a changed `model`."""
        ...


class NativeEngine:
    """Works in place on the model's arrays.

    fused: Adam uses the gradients where they are made; otherwise they go through arrays, which is slower and gives the
    same bits.
    """

    def __init__(self, model: Model, config: SplatsConfig, seed: int, *, fused: bool = True) -> None:
        self._model, self._seed = model, seed
        self._differentiate = Differentiator(config.loss.ssim, config.antialiased)
        self._fused = fused
        self.seconds: dict[str, float] = {}  # of the parts of the last step, for benchmarks

    def synchronise(self) -> None:
        return

    def reload(self) -> None:
        return

    def step(self, given: StepInput) -> StepOutput:
        params = self._model.params
        loss, v_exposure = self._differentiate.compare(params, given)
        start = time.perf_counter()
        pose = np.zeros((3, 4)) if given.want_pose else None
        (self._update if self._fused else self._update_plainly)(given, params, pose)
        if given.noise > 0:
            self._add_noise(given, params)
        self.seconds = self._differentiate.seconds | {"update": time.perf_counter() - start}
        return StepOutput(loss, v_exposure, pose)

    def _update(self, given: StepInput, params: dict[str, np.ndarray], pose: np.ndarray | None) -> None:
        """Gradients of the parameters and Adam in one pass; fills `pose`."""
        model, n, rates = self._model, self._model.count, given.rates
        self._differentiate.raster.adam_step(
            list(params.values()),
            [a[:n] for a in model.first.values()],
            [a[:n] for a in model.second.values()],
            [rates.means, rates.log_scales, rates.quats, rates.opacity_logits, rates.sh0, rates.sh],
            BETA1,
            BETA2,
            EPSILON,
            given.step,
            pose,
            *self._statistics(given),
            given.opacity_weight / n,
            given.scale_weight / (3 * n),
        )

    def _update_plainly(self, given: StepInput, params: dict[str, np.ndarray], pose: np.ndarray | None) -> None:
        """What `_update` does, through arrays of gradients."""
        model = self._model
        found = self._differentiate.gradients(params, given, pose, self._statistics(given))
        update(model, found.arrays, found.visible, given.rates, given.step, given.sh_degree)

    def _statistics(self, given: StepInput) -> tuple[np.ndarray | None, np.ndarray | None]:
        model, n = self._model, self._model.count
        return (model.screen_norm[:n], model.screen_count[:n]) if given.statistics else (None, None)

    def _add_noise(self, given: StepInput, params: dict[str, np.ndarray]) -> None:
        native().add_noise(
            params["means"],
            params["log_scales"],
            params["quats"],
            params["opacity_logits"],
            self._seed,
            given.step,
            given.noise,
        )


def update(
    model: Model, grads: dict[str, np.ndarray], visible: np.ndarray, rates: Rates, step: int, sh_degree: int
) -> None:
    """One step of Adam for all parameters of a model, on the rows that are visible; `step` counts from 1."""
    n = model.count
    for name, param in model.params.items():
        rate, active = getattr(rates, name), None
        if name == "sh":
            rate = np.full((param.shape[1], 1), rates.sh, dtype=np.float32)
            rate[0] = rates.sh0
            active = (sh_degree + 1) ** 2
        first, second = model.first[name][:n], model.second[name][:n]
        adam_step(param, grads[name], first, second, rate, step, visible, active)
