"""The anchored scene in torch: what scenerep/coding/anchored computes from integers, differentiable, and its rate.

Letters and sizes as in coding/anchored/scene.py. Embeddings are counted in steps of the quantiser: their integers are
themselves, rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from scenerep.coding.anchored import AnchoredSplats, Grid, Layout
from scenerep.coding.anchored.scene import ENTROPY_BITS, GEOMETRY, PREDICTION_BITS, SCALES, WEIGHT_LIMIT
from scenerep.coding.quantised import rgb_from_ycocg

_LEAST_LIKELY = 1e-6
_LOG2_SIGMA = (-3.0, 5.0)  # as far as there are classes for it


def straight_round(x: Tensor) -> Tensor:
    """Rounded on the way there, untouched on the way back (Bengio et al. 2013)."""
    return x + (torch.floor(x + 0.5) - x).detach()


def gaussian_bits(x: Tensor, mean: Tensor, log2_sigma: Tensor) -> Tensor:
    """Bits of x rounded, under a Gaussian integrated over the cell of the quantiser (Minnen et al. 2018).

    Where that is next to nothing, the slope by the distance goes on.
    """
    distance = (x - mean).abs()
    inverse = torch.exp2(-log2_sigma.clamp(*_LOG2_SIGMA))
    # On the side of the tail both terms are small, so that their difference is exact.
    high, low = (0.5 - distance) * inverse, (-0.5 - distance) * inverse
    likelihood = torch.special.ndtr(high) - torch.special.ndtr(low)
    return -torch.log2(likelihood + _LEAST_LIKELY) + 0.1 * torch.relu(-high - 4.5)


@dataclass(frozen=True)
class Chosen:
    """Numbers of some anchors, m of them: as they are, and rounded with gradients that pass through.

    reference [m, C], residual [m, K, G] and scales [m, 6] are counted in steps; `places` [m, 3] of the anchors.
    """

    places: Tensor
    reference: Tensor
    residual: Tensor
    scales: Tensor
    reference_hat: Tensor
    residual_hat: Tensor
    scales_hat: Tensor


class AnchoredModel(nn.Module):
    """Embeddings, scales and networks of an anchored scene; the anchors' places stay as they are.

    Args:
        positions: int [n, 3] on the grid.
        scales: float [n, 6], natural logarithms.
    """

    def __init__(self, layout: Layout, grid: Grid, positions: np.ndarray, scales: np.ndarray, seed: int) -> None:
        super().__init__()
        self.layout, self.grid, self.positions = layout, grid, positions
        n, k = len(positions), layout.coupled
        random = torch.Generator().manual_seed(seed)
        self.anchors = torch.tensor(grid.world(positions), dtype=torch.float32)
        # What a step is to the networks, whose inputs are then of unit size; as the start sets them.
        self.embedding_steps = {"reference": 1.0, "residual": 1.0}
        self.reference = nn.Parameter(torch.zeros(n, layout.reference))
        self.residual = nn.Parameter(torch.zeros(n, k, layout.residual))
        self.scales = nn.Parameter(torch.tensor(scales, dtype=torch.float32))
        self.log_steps = nn.Parameter(torch.full((SCALES,), float(np.log(0.1))))
        self.weights = nn.ParameterDict()
        for name, (rows, columns) in layout.weight_shapes().items():
            deep = name.rpartition(".")[2] in ("fuse", "deepen", "hidden")
            spread = (2 / rows) ** 0.5 / (4 if name.startswith("prediction") else 1) if deep else 0.0
            self.weights[_key(name)] = nn.Parameter(torch.randn(rows, columns, generator=random) * spread)
        self.analysis = nn.ParameterDict()  # from embeddings to hyper-priors; the decoder needs none of it
        for name, given, found in (
            ("reference", layout.reference, layout.reference_hyper),
            ("residual", k * layout.residual, k * layout.residual_hyper),
        ):
            hidden = torch.randn(given, 2 * found, generator=random) / given**0.5
            self.analysis[f"{name}_in"] = nn.Parameter(hidden)
            self.analysis[f"{name}_out"] = nn.Parameter(torch.randn(2 * found, found, generator=random))
            self.analysis[f"{name}_prior"] = nn.Parameter(torch.zeros(2, found))  # mean, log2 sigma

    # --- prediction

    def chosen(self, rows: Tensor | None = None) -> Chosen:
        """The numbers of some anchors, by default of all."""
        places, f, g, scales = self.anchors, self.reference, self.residual, self.scales
        if rows is not None:
            places, f, g, scales = places[rows], f[rows], g[rows], scales[rows]
        s = scales / self.log_steps.exp()
        return Chosen(places, f, g, s, straight_round(f), straight_round(g), straight_round(s))

    def predict(self, at: Chosen) -> Tensor:
        """[m, K, D]: what `predict_primitives` gives. An anchor's share of the first layers is computed once."""
        c = self.layout.reference
        w = {name: self._rounded(f"prediction.{name}") for name in ("skip", "fuse", "deepen", "head")}
        b = {name: self._rounded(f"prediction.{name}") for name in ("fuse_bias", "deepen_bias", "bias")}
        shape = (*at.residual.shape[:2], -1)
        reference = at.reference_hat * self.embedding_steps["reference"]
        own = at.residual_hat.reshape(-1, self.layout.residual) * self.embedding_steps["residual"]
        fused = reference @ w["fuse"][:c] + b["fuse_bias"]
        h = torch.relu((own @ w["fuse"][c:]).reshape(shape) + fused[:, None]).reshape(len(own), -1)
        h = h + torch.relu(torch.addmm(b["deepen_bias"], h, w["deepen"]))
        shared = reference @ w["skip"][:c] + b["bias"]
        return torch.addmm(own @ w["skip"][c:], h, w["head"]).reshape(shape) + shared[:, None]

    def gaussians(self) -> list[Tensor]:
        """The arrays of a scene, [n K, ...], as `bake` gives them before it leaves out what cannot be seen."""
        at = self.chosen()
        y = self.predict(at)
        scales = at.scales_hat * self.log_steps.exp()
        reach, deviation = scales[:, None, :3], scales[:, None, 3:]
        means = at.places[:, None] + reach.exp() * y[..., :3]
        g = y[..., 6:9]
        s = (g * g).sum(dim=-1, keepdim=True) / 4
        quats = torch.cat([1 - s, g], dim=-1) / (1 + s)
        sh = y[..., GEOMETRY:].reshape(*y.shape[:2], -1, 3) @ _RGB
        arrays = [means, deviation + y[..., 3:6], quats, y[..., 9], sh]
        return [a.reshape(-1, *a.shape[2:]) for a in arrays]

    # --- rate

    def bits(self, at: Chosen, random: torch.Generator) -> Tensor:
        """Bits of embeddings and scales of the anchors, a scalar: the rate of the paper.

        Uniform noise stands for the rounding (Balle et al. 2017).
        """

        def noisy(x: Tensor) -> Tensor:
            return x + torch.rand(x.shape, generator=random) - 0.5

        g = at.residual.flatten(1)
        total = torch.zeros(())
        hyper = {}
        for name, x in (("reference", at.reference), ("residual", g)):
            z = self.hyper(name, x)
            mean, sigma = self.analysis[f"{name}_prior"].unbind()
            total = total + gaussian_bits(noisy(z), mean, sigma).sum()
            hyper[name] = straight_round(z)
        for name, given, x in (
            ("reference", hyper["reference"], at.reference),
            ("scales", at.reference_hat, at.scales),
            ("residual", torch.cat([at.reference_hat, hyper["residual"]], dim=1), g),
        ):
            mean, sigma = self.distribution(name, given)
            total = total + gaussian_bits(noisy(x), mean, sigma).sum()
        return total

    def hyper(self, name: str, x: Tensor) -> Tensor:
        """The hyper-prior of embeddings x, before it is rounded."""
        x = x * self.embedding_steps[name]
        return nn.functional.leaky_relu(x @ self.analysis[f"{name}_in"]) @ self.analysis[f"{name}_out"]

    def distribution(self, name: str, given: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log2 of standard deviations: what `integer_network` gives, up to rounding."""
        w = {part: self._rounded(f"{name}.{part}") for part in ("hidden", "hidden_bias", "out", "out_bias")}
        out = torch.relu(given @ w["hidden"] + w["hidden_bias"]) @ w["out"] + w["out_bias"]
        mean, sigma = out.chunk(2, dim=1)
        return mean, sigma

    # --- to integers

    @torch.no_grad()
    def integers(self, antialiased: bool, metadata: dict) -> AnchoredSplats:
        """What is coded."""
        steps = self.log_steps.exp()
        reference, residual = torch.floor(self.reference + 0.5), torch.floor(self.residual + 0.5)
        weights = {}
        for name in self.layout.weight_shapes():
            w = torch.floor(self.weights[_key(name)] * _unit(name) + 0.5)
            weights[name] = w.clamp(1 - WEIGHT_LIMIT, WEIGHT_LIMIT - 1).numpy().astype(np.int32)
        return AnchoredSplats(
            self.layout,
            self.grid,
            np.array([self.embedding_steps["reference"], self.embedding_steps["residual"]]),
            steps.numpy(),
            self.positions,
            reference.numpy().astype(np.int32),
            torch.floor(self.scales / steps + 0.5).numpy().astype(np.int32),
            residual.numpy().astype(np.int32),
            torch.floor(self.hyper("reference", self.reference) + 0.5).numpy().astype(np.int32),
            torch.floor(self.hyper("residual", self.residual.flatten(1)) + 0.5).numpy().astype(np.int32),
            weights,
            antialiased,
            metadata,
        )

    def _rounded(self, name: str) -> Tensor:
        unit = _unit(name)
        return straight_round(self.weights[_key(name)] * unit) / unit


_RGB = torch.tensor(rgb_from_ycocg(np.eye(3)), dtype=torch.float32)  # rgb = ycocg @ _RGB


def _key(name: str) -> str:
    return name.replace(".", "_")


def _unit(name: str) -> float:
    return 2.0 ** (PREDICTION_BITS if name.startswith("prediction.") else ENTROPY_BITS)
