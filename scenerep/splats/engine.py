"""One optimiser step: render, compare, differentiate, update. The CPU engine runs on native kernels and numpy arrays;
`engine_torch.py` does the same with torch, for CUDA and as the plain version that tests compare with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scenerep.native import native
from scenerep.splats.adam import adam_step
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
    """Works in place on the model's arrays."""

    def __init__(self, model: Model, config: SplatsConfig, seed: int) -> None:
        self._model, self._seed = model, seed
        self._differentiate = Differentiator(config.loss.ssim, config.antialiased)
        self.seconds: dict[str, float] = {}  # of the parts of the last step, for benchmarks

    def synchronise(self) -> None:
        return

    def reload(self) -> None:
        return

    def step(self, given: StepInput) -> StepOutput:
        model, n = self._model, self._model.count
        statistics = (model.screen_norm[:n], model.screen_count[:n]) if given.statistics else None
        found = self._differentiate(model.params, given, statistics, model.capacity)
        start = time.perf_counter()
        update(model, found.arrays, found.visible, given.rates, given.step, given.sh_degree)
        if given.noise > 0:
            p = model.params
            native().add_noise(
                *(p[name] for name in ("means", "log_scales", "quats", "opacity_logits")),
                self._seed,
                given.step,
                given.noise,
            )
        self.seconds = self._differentiate.seconds | {"update": time.perf_counter() - start}
        return StepOutput(found.loss, found.exposure, found.pose)


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
