"""The parameters of RDO-Gaussian: a scene, masks for Gaussians and bands, and codebooks for its attributes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scenerep.coding.codebook_splats import ATTRIBUTES
from scenerep.compress.finetune import NAMES
from scenerep.compress.rates import fine_rates
from scenerep.compress.rdo_gaussian.quantiser import VectorQuantiser
from scenerep.scenes import Gaussians

THRESHOLD = 0.1
"""A mask is on where its sigmoid is above this."""
_ABSENT = -20.0  # opacity logit of a masked Gaussian: below every renderer's limit
_RATE_GAUSSIANS, _RATE_BANDS = 0.01, 0.05
_RATE_CODEWORDS, _RATE_LOGITS = 2e-4, 2e-3
_VQ_COOL = 0.1


class Masked:
    """n Gaussians with b bands. `function` is what a TorchTrainable draws.

    Args:
        weights: Of the mean mask of Gaussians and of bands, in the loss.
        spread: Of the cameras; scales the learning rate of positions.
    """

    def __init__(self, scene: Gaussians, weights: tuple[float, float], spread: float) -> None:
        self.weights, self.spread = weights, spread
        self.params: dict[str, Tensor] = {
            name: torch.from_numpy(a.copy()).requires_grad_() for name, a in scene.arrays().items()
        }
        n = len(scene)
        self.gaussian_mask = torch.zeros(n, requires_grad=True)
        self.band_mask = torch.zeros(n, scene.sh_degree, requires_grad=True)
        self.quantisers: dict[str, VectorQuantiser] = {}
        self.with_rate = self.cooled = False
        self.optimiser: torch.optim.Optimizer = self._optimiser()

    @property
    def degree(self) -> int:
        return self.band_mask.shape[1]

    def attributes(self) -> list[str]:
        return ["scale", "rotation", "dc", *(f"sh{band}" for band in range(1, self.degree + 1))]

    def vectors(self, attribute: str) -> Tensor:
        """[n, d], as they are quantised: rotations of unit length with w >= 0."""
        name, first, width = ATTRIBUTES[attribute]
        flat = self.params[name].flatten(1)[:, first : first + width]
        if attribute != "rotation":
            return flat
        unit = torch.nn.functional.normalize(flat, dim=1)
        return torch.where(unit[:, :1] < 0, -unit, unit)

    def bands(self) -> Tensor:
        """bool [n, b]: which bands a Gaussian has."""
        return torch.sigmoid(self.band_mask) > THRESHOLD

    def users(self, attribute: str) -> Tensor:
        """bool [n]: who has this attribute at all."""
        if attribute.startswith("sh"):
            return self.bands()[:, int(attribute[2:]) - 1]
        return torch.ones(len(self.gaussian_mask), dtype=torch.bool)

    def function(self) -> tuple[Sequence[Tensor], Tensor | None]:
        """What is drawn, and what is added to the loss: masks and bits."""
        soft = torch.sigmoid(self.gaussian_mask)
        on = soft.detach() > THRESHOLD
        passed = soft - soft.detach()  # 0, with the gradient of the mask
        parts, extra = {}, torch.zeros(())
        for attribute in self.attributes():
            values = self.vectors(attribute)
            if attribute in self.quantisers:
                users = self.users(attribute)
                quantiser = self.quantisers[attribute]
                if users.any():
                    values, bits = quantiser.masked(values, users)
                    extra = extra + (bits / quantiser.lambda_ if self.with_rate else 0)
            parts[attribute] = values
        log_scales = parts["scale"] + passed[:, None]  # scales are multiplied by the mask: d log s / d mask = 1
        logits = self.params["opacity_logits"]
        # So is the opacity o: d logit / d mask = 1 / (1 - o).
        drawn = torch.where(on, logits, _ABSENT) + passed / (1 - torch.sigmoid(logits.detach())).clamp_min(1e-3)
        soft_bands = torch.sigmoid(self.band_mask)
        factor = (soft_bands.detach() > THRESHOLD) + (soft_bands - soft_bands.detach())
        sh = [parts["dc"], *(parts[f"sh{b}"] * factor[:, b - 1 : b] for b in range(1, self.degree + 1))]
        colours = torch.cat(sh, 1).reshape(len(logits), -1, 3)
        weight, weight_bands = self.weights
        extra = extra + weight * soft.mean()
        if self.degree:
            extra = extra + weight_bands * soft_bands.mean()
        return [self.params["means"], log_scales, parts["rotation"], drawn, colours], extra

    def schedule(self, progress: float) -> None:
        """Learning rates at this point; those of the codebooks fall to a tenth when `cooled`."""
        r = fine_rates(progress, self.spread)
        rates = (r.means, r.log_scales, r.quats, r.opacity_logits, r.sh)
        vq = _VQ_COOL if self.cooled else 1.0
        values = (*rates, _RATE_GAUSSIANS, _RATE_BANDS, *([_RATE_CODEWORDS * vq, _RATE_LOGITS * vq] * 6))
        for group, rate in zip(self.optimiser.param_groups, values):
            group["lr"] = rate

    def remove_masked(self) -> None:
        """A masked Gaussian is not drawn, so that no gradient can bring it back: it may as well go at once."""
        keep = torch.sigmoid(self.gaussian_mask.detach()) > THRESHOLD
        if keep.all():
            return
        if not keep.any():
            keep[int(self.gaussian_mask.argmax())] = True
        old = [*self.params.values(), self.gaussian_mask, self.band_mask]
        new = [t.detach()[keep].requires_grad_() for t in old]
        states = [self.optimiser.state.get(t, {}) for t in old]
        kept = [{k: v[keep] if v.ndim else v for k, v in state.items()} for state in states]
        vq = {id(t): self.optimiser.state[t] for t in self._vq_params() if t in self.optimiser.state}
        self.params = dict(zip(NAMES, new))
        self.gaussian_mask, self.band_mask = new[-2:]
        for quantiser in self.quantisers.values():
            quantiser.index = quantiser.index[keep]
        self.optimiser = self._optimiser()
        self.optimiser.state.update({t: state for t, state in zip(new, kept) if state})
        self.optimiser.state.update({t: vq[id(t)] for t in self._vq_params() if id(t) in vq})

    def start_quantising(self, count: int, lambda_: float, seed: int, simvq: bool) -> None:
        """Codebooks by k-means of what is there; `count` codewords, half of that for SH bands."""
        for number, attribute in enumerate(self.attributes()):
            vectors = self.vectors(attribute).detach()
            users = self.users(attribute)
            size = count if number < 3 else max(1, count // 2)
            if users.any():
                quantiser = VectorQuantiser(vectors[users], size, lambda_, seed + number, simvq)
                quantiser.refresh(vectors)
                self.quantisers[attribute] = quantiser
        states = dict(self.optimiser.state)
        self.optimiser = self._optimiser()
        self.optimiser.state.update(states)

    def refresh(self) -> None:
        for attribute, quantiser in self.quantisers.items():
            quantiser.refresh(self.vectors(attribute).detach())

    def revive(self, rng: np.random.Generator) -> None:
        for attribute, quantiser in self.quantisers.items():
            quantiser.revive(self.vectors(attribute).detach()[self.users(attribute)], rng)

    def _vq_params(self) -> list[Tensor]:
        found = []
        for quantiser in self.quantisers.values():
            found += [quantiser.base if quantiser.layer is None else quantiser.layer, quantiser.logits]
        return found

    def _optimiser(self) -> torch.optim.Optimizer:
        tensors = [*self.params.values(), self.gaussian_mask, self.band_mask, *self._vq_params()]
        return torch.optim.Adam([{"params": [t], "lr": 1e-4} for t in tensors], eps=1e-15)
