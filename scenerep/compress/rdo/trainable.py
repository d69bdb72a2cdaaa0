"""Gaussians that are fine-tuned towards few bits: quantised on the way to the picture, pulled by the slope of the bits.

What is drawn is parameter + offset, the offset being that to the quantised value when it was last refreshed (every few
steps): the straight-through estimator (Bengio et al. 2013) at a fraction of its price, since numbers move by far less
than a step meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scenerep.scenes import Gaussians
from scenerep.splats.differentiate import Gradients
from scenerep.splats.engine import update
from scenerep.splats.model import Model
from scenerep.splats.schedule import Rates

GEOMETRY = ("means", "log_scales", "quats")


class GaussianTrainable:
    """A model's parameters behind quantisation.

    Attributes (set by the compressor as it goes):
        quantised: Gives the scene as it would be decoded; None: the parameters are drawn as they are.
        slopes: Gives d loss / d parameter of the bits, for some arrays; None: bits do not count.
        frozen: Names of arrays that stay as they are.
        colour_mask: bool [n, k, 3], False where SH is to stay 0; None: nowhere.
    """

    def __init__(self, model: Model, rates: Callable[[float], Rates], antialiased: bool) -> None:
        self.model = model
        self.quantised: Callable[[Gaussians], Gaussians] | None = None
        self.slopes: Callable[[Gaussians], dict[str, np.ndarray]] | None = None
        self.frozen: tuple[str, ...] = ()
        self.colour_mask: np.ndarray | None = None
        self._rates, self._antialiased = rates, antialiased
        self._drawn: dict[str, np.ndarray] = {}
        self._offset: dict[str, np.ndarray] = {}
        self._slope: dict[str, np.ndarray] = {}
        self._age = 0
        self.quantise_every, self.slopes_every = 8, 24

    def refresh(self) -> None:
        """Forgets what was derived from the parameters; call it after changing them."""
        self._age = 0

    def state(self) -> dict[str, np.ndarray]:
        """What `load` needs to go on in the same way, besides the model and the attributes."""
        out = {f"offset.{name}": a for name, a in self._offset.items()}
        return out | {f"slope.{name}": a for name, a in self._slope.items()} | {"age": np.array(self._age)}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        self._age = int(arrays["age"])
        self._offset, self._slope = (
            {name.partition(".")[2]: a for name, a in arrays.items() if name.startswith(prefix)}
            for prefix in ("offset.", "slope.")
        )

    def scene(self) -> Gaussians:
        """The parameters as a scene; shares their memory."""
        return self.model.scene(antialiased=self._antialiased, copy=False)

    def draw(self) -> dict[str, np.ndarray]:
        params = self.model.params
        if self._age == 0:
            self._offset, self._slope, self._drawn = {}, {}, {}
        if self.slopes is not None and self._age % self.slopes_every == 0:
            self._slope = self.slopes(self.scene())
        if self.quantised is None:
            return params
        if self._age % self.quantise_every == 0:
            decoded = self.quantised(self.scene()).arrays()
            self._offset = {name: decoded[name] - a for name, a in params.items()}
        if not self._drawn:
            self._drawn = {name: np.empty_like(a) for name, a in params.items()}
        for name, a in params.items():
            np.add(a, self._offset[name], out=self._drawn[name])
        return self._drawn

    def update(self, gradients: Gradients, step: int, progress: float) -> None:
        grads = gradients.arrays
        for name, slope in self._slope.items():
            grads[name] += slope
        for name in self.frozen:
            grads[name][:] = 0
        if self.colour_mask is not None:
            grads["sh"] *= self.colour_mask
        rates = self._rates(progress)
        if self.frozen:
            rates = Rates(**(vars(rates) | dict.fromkeys(self.frozen, 0.0)))
        degree = int(np.sqrt(self.model.params["sh"].shape[1])) - 1
        update(self.model, grads, gradients.visible, rates, step, degree)
        self._age += 1
