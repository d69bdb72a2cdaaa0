"""The fine-tuning loop that all compressors share: draw what the parameters stand for, compare, pass the gradient on.

What is drawn need not be what is trained: a method may quantise, mask or predict in between (`Trainable.draw`) and
takes the gradient by what was drawn back to its parameters (`Trainable.update`). `TorchTrainable` does the way back
with autograd. Drawing, loss and their gradients are native kernels in either case.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from scenerep.compress.views import Views
from scenerep.errors import DataError
from scenerep.events import Step
from scenerep.geometry.sh import degree_of
from scenerep.splats.differentiate import Differentiator, Gradients, View

NAMES = ("means", "log_scales", "quats", "opacity_logits", "sh")


class Trainable(Protocol):
    """Parameters of any kind that can be drawn as Gaussians."""

    def draw(self) -> dict[str, np.ndarray]:
        """The arrays of a scene, float32, contiguous, named and ordered as in `Gaussians.arrays`."""
        ...

    def update(self, gradients: Gradients, step: int, progress: float) -> None:
        """One optimiser step, by the gradient of the loss by what `draw` gave last. `step` counts from 1."""
        ...


@dataclass
class Position:
    """Where the loop stands; JSON values, saved and read back by the compressor."""

    step: int = 0
    seconds: float = 0.0
    progress: float = 0.0
    order: list[int] = field(default_factory=list)


class FineTuning:
    """One pass over the budget, in which the compressor may do other things between any two steps.

    Args:
        views: Pictures to compare with.
        antialiased: Of the scene.
        seconds, steps: The budget: time, or steps if given.
        seed: Of the order of the views.
        position: Where to go on; the start by default.
        ssim: Weight of D-SSIM against L1.
    """

    def __init__(
        self,
        views: Views,
        antialiased: bool,
        seconds: float,
        steps: int | None = None,
        seed: int = 0,
        position: Position | None = None,
        ssim: float = 0.2,
    ) -> None:
        self.at = position or Position()
        self.differentiate = Differentiator(ssim, antialiased)
        self._views, self._seconds, self._steps = views, seconds, steps
        self._seed = seed
        self._started = time.monotonic() - self.at.seconds

    def run(self, trainable: Trainable, until: float = 1.0) -> Iterator[Step]:
        """Steps until this share of the budget is used up; what is done between the steps counts as well."""
        while self._progress() < until:
            at = self.at
            if not at.order:
                epoch = np.random.default_rng([self._seed, at.step])
                at.order = [int(i) for i in epoch.permutation(len(self._views))]
            target = self._views.target(at.order.pop())
            params = trainable.draw()
            view = View(target, target.camera, self._views.background, degree_of(params["sh"].shape[1]))
            found = self.differentiate(params, view)
            if not np.isfinite(found.loss):
                raise DataError(f"the loss is {found.loss} at step {at.step}", "check the scene's values")
            at.step += 1
            trainable.update(found, at.step, at.progress)
            left = at.seconds * (1 - at.progress) / at.progress if at.progress > 0 else float("inf")
            yield Step(at.step, found.loss, len(params["means"]), at.seconds, at.progress, left)

    def pause(self, seconds: float) -> None:
        """Time that does not count."""
        self._started += seconds

    def _progress(self) -> float:
        at = self.at
        at.seconds = time.monotonic() - self._started
        at.progress = at.step / self._steps if self._steps is not None else max(at.progress, at.seconds / self._seconds)
        return at.progress


class TorchTrainable:
    """Parameters of torch behind a differentiable function.

    Args:
        function: Called before each step without arguments; gives the five float32 CPU tensors in the order of
            `Gaussians.arrays`, and terms (rate, regularisers) to be added to the loss, a scalar or None. Ends with
            SH of one of the sizes 1, 4, 9, 16.
        optimisers: Stepped after each backward pass; `after` may replace them.
        after: Called as after(step, progress) when they have stepped (schedules, clamps, re-seeding).
    """

    def __init__(
        self,
        function: Callable[[], tuple[Sequence[Tensor], Tensor | None]],
        optimisers: Sequence[torch.optim.Optimizer],
        after: Callable[[int, float], None] | None = None,
    ) -> None:
        self._function, self.optimisers, self._after = function, list(optimisers), after
        self._drawn: Sequence[Tensor] = ()
        self._extra: Tensor | None = None

    def draw(self) -> dict[str, np.ndarray]:
        self._drawn, self._extra = self._function()
        return {name: t.detach().contiguous().numpy() for name, t in zip(NAMES, self._drawn, strict=True)}

    def update(self, gradients: Gradients, step: int, progress: float) -> None:
        unseen = gradients.visible == 0
        tensors, grads = [], []
        for tensor, gradient in zip(self._drawn, gradients.arrays.values(), strict=True):
            if tensor.requires_grad:
                gradient[unseen] = 0  # those rows hold what an earlier picture left there
                tensors.append(tensor)
                grads.append(torch.from_numpy(gradient))
        if self._extra is not None and self._extra.requires_grad:
            tensors.append(self._extra)
            grads.append(torch.ones_like(self._extra))
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        torch.autograd.backward(tensors, grads)
        for optimiser in self.optimisers:
            optimiser.step()
        if self._after is not None:
            self._after(step, progress)
