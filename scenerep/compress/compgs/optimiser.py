"""Adam for an anchored model, a learning rate for each kind of number."""

from __future__ import annotations

import numpy as np
import torch

from scenerep.compress.compgs.model import AnchoredModel

# Embeddings and scales are counted in steps of the quantiser or natural logarithms, weights in about units of 1/width.
_RATES = {"reference": 0.03, "residual": 0.03, "scales": 0.01, "log_steps": 0.005, "weights": 1e-3, "analysis": 3e-3}
_SHARE = 0.3


class AnchoredAdam:
    """All optimisers of a model; `step(factor)` scales all rates."""

    def __init__(self, model: AnchoredModel) -> None:
        self._names = [name for name, _ in model.named_parameters()]
        # An embedding of many steps has as far to go as one of few.
        size = {name: max(1.0, _SHARE / step) for name, step in model.embedding_steps.items()}
        kinds = [name.partition(".")[0] for name in self._names]
        self._rates = [_RATES[kind] * size.get(kind, 1.0) for kind in kinds]
        groups = [{"params": [p], "lr": rate} for (_, p), rate in zip(model.named_parameters(), self._rates)]
        self._adam = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15)

    def zero_grad(self) -> None:
        self._adam.zero_grad()

    def step(self, factor: float) -> None:
        for group, rate in zip(self._adam.param_groups, self._rates):
            group["lr"] = rate * factor
        self._adam.step()

    def state(self) -> dict[str, np.ndarray]:
        """Moments by name, for a checkpoint."""
        out = {}
        for name, group in zip(self._names, self._adam.param_groups):
            for key, value in self._adam.state[group["params"][0]].items():
                out[f"adam.{key}.{name}"] = np.asarray(value.detach().numpy() if torch.is_tensor(value) else value)
        return out

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse."""
        for name, group in zip(self._names, self._adam.param_groups):
            state = self._adam.state[group["params"][0]]
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if f"adam.{key}.{name}" in arrays:
                    state[key] = torch.from_numpy(arrays[f"adam.{key}.{name}"].copy())
