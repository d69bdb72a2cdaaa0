"""Coordinate networks behind one interface: `Field`, from places in [-1, 1]^d to values [n, outputs].

siren (Sitzmann et al., NeurIPS 2020), finer (Liu et al., CVPR 2024), hash-grid (Instant NGP, Müller et al., SIGGRAPH
2022), sl2a (Rezaeian et al., ICCV 2025). Which arrays a network has stands in field_shapes.py.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from scenerep.errors import SceneRepError
from scenerep.field_shapes import GRID_FEATURES, FieldShape

_PRIMES = (1, 2_654_435_761, 805_459_861)
_TABLE_START = 1e-4
_FINER_BIAS = 1.0


class Field(nn.Module, ABC):
    """A network of any kind. `forward` takes places [n, inputs] in [-1, 1] and gives [n, outputs], without a limit.

    What the outputs mean is the subject's business: colours are (1 + y) / 2, distances are y.
    """

    def __init__(self, shape: FieldShape) -> None:
        super().__init__()
        self.shape = shape
        for name, size in shape.arrays().items():
            self.register_parameter(name, nn.Parameter(torch.zeros(size)))

    @abstractmethod
    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]: ...

    @abstractmethod
    def start(self, generator: torch.Generator) -> None:
        """Draws the first weights."""

    def weights(self) -> dict[str, np.ndarray]:
        """float32 copies by name, in the order of the shape."""
        own = dict(self.named_parameters())
        return {name: own[name].detach().numpy().copy() for name in self.shape.arrays()}

    def put(self, weights: dict[str, np.ndarray]) -> None:
        """Raises: SceneRepError if the arrays are not those of the shape."""
        own = dict(self.named_parameters())
        for name, size in self.shape.arrays().items():
            if name not in weights or weights[name].shape != size:
                found = weights[name].shape if name in weights else "none"
                raise SceneRepError(f"the network's {name} has the shape {found}, expected {size}")
            with torch.no_grad():
                own[name].copy_(torch.from_numpy(np.array(weights[name], np.float32)))

    def _draw(self, name: str, bound: float, generator: torch.Generator) -> None:
        with torch.no_grad():
            self.get_parameter(name).uniform_(-bound, bound, generator=generator)


class Siren(Field):
    """Sines of linear layers: h = sin(omega (W h + b))."""

    def start(self, generator: torch.Generator) -> None:
        s = self.shape
        for k in range(s.layers + 1):
            fan = self.get_parameter(f"w{k}").shape[1]
            # The first layer spans its frequencies; the others keep the distribution of what passes (section 3.2).
            self._draw(f"w{k}", 1 / fan if k == 0 else math.sqrt(6 / fan) / s.omega, generator)
            self._draw(f"b{k}", self._bias_bound(k, fan), generator)

    def _bias_bound(self, k: int, fan: int) -> float:
        return 1 / math.sqrt(fan) if k == 0 else math.sqrt(6 / fan) / self.shape.omega

    def _activate(self, z: Tensor) -> Tensor:
        return torch.sin(self.shape.omega * z)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        for k in range(self.shape.layers):
            x = self._activate(F.linear(x, self.get_parameter(f"w{k}"), self.get_parameter(f"b{k}")))
        last = self.shape.layers
        return F.linear(x, self.get_parameter(f"w{last}"), self.get_parameter(f"b{last}"))


class Finer(Siren):
    """Sines of a frequency that grows with the argument: sin(omega (|z| + 1) z), with widely drawn first biases."""

    def _bias_bound(self, k: int, fan: int) -> float:
        return _FINER_BIAS if k == 0 else super()._bias_bound(k, fan)

    def _activate(self, z: Tensor) -> Tensor:
        # The factor takes no gradient, as in the authors' own implementation.
        return torch.sin(self.shape.omega * (z.detach().abs() + 1) * z)


class HashGrid(Field):
    """Tables of features at several resolutions, interpolated linearly, and a small network of ReLU layers."""

    def __init__(self, shape: FieldShape) -> None:
        super().__init__(shape)
        corners = np.indices((2,) * shape.inputs).reshape(shape.inputs, -1).T
        self._corners = torch.from_numpy(np.ascontiguousarray(corners))  # [2^d, d]
        self._levels = list(zip(shape.level_cells(), shape.level_rows(), strict=True))

    def start(self, generator: torch.Generator) -> None:
        for k in range(self.shape.levels):
            self._draw(f"table{k}", _TABLE_START, generator)
        for k in range(self.shape.layers + 1):
            self._draw(f"w{k}", math.sqrt(6 / self.get_parameter(f"w{k}").shape[1]), generator)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        unit = (x.clamp(-1, 1) + 1) / 2
        found = []
        for k, (cells, rows) in enumerate(self._levels):
            at = unit * cells
            low = at.floor().clamp(max=cells - 1)
            inside = (at - low)[:, None]  # [n, 1, d]
            weights = torch.where(self._corners.bool(), inside, 1 - inside).prod(dim=2)
            index = self._index(low.long()[:, None] + self._corners, cells, rows)
            features = F.embedding(index, self.get_parameter(f"table{k}"))  # [n, 2^d, f]
            found.append((weights[..., None] * features).sum(dim=1))
        h = torch.cat(found, dim=1)
        assert h.shape[1] == GRID_FEATURES * self.shape.levels
        for k in range(self.shape.layers):
            h = torch.relu(F.linear(h, self.get_parameter(f"w{k}"), self.get_parameter(f"b{k}")))
        last = self.shape.layers
        return F.linear(h, self.get_parameter(f"w{last}"), self.get_parameter(f"b{last}"))

    def _index(self, places: Tensor, cells: int, rows: int) -> Tensor:
        """Rows of vertices [..., d]: counted where each has its own, hashed otherwise (eq. 4)."""
        if (cells + 1) ** self.shape.inputs <= rows:
            index = places[..., -1]
            for axis in range(self.shape.inputs - 2, -1, -1):
                index = index * (cells + 1) + places[..., axis]
            return index
        mixed = places[..., 0] * _PRIMES[0]
        for axis in range(1, self.shape.inputs):
            mixed = torch.bitwise_xor(mixed, places[..., axis] * _PRIMES[axis])
        return (mixed & 0xFFFFFFFF) % rows


class Sl2a(Field):
    """Learnable activations of Chebyshev polynomials, then low-rank ReLU layers modulated by them.

    psi = LayerNorm(sum_ik C_ik T_k(tanh x_i)), y_0 = psi, y_l = relu(C_l A_l (psi y_{l-1}) + b_l), W (psi y_L) + b.
    """

    def start(self, generator: torch.Generator) -> None:
        s = self.shape
        for name, (after, before) in (
            ("poly", (s.width, s.inputs * (s.detail + 1))),
            ("w_out", (s.outputs, s.width)),
        ):
            self._draw(name, math.sqrt(6 / (after + before)), generator)
        for k in range(s.layers):
            self._draw(f"a{k}", math.sqrt(6 / (s.width + s.rank)), generator)
            self._draw(f"c{k}", math.sqrt(6 / (s.width + s.rank)), generator)
        with torch.no_grad():
            self.get_parameter("norm_w").fill_(1)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        s = self.shape
        angle = torch.arccos(torch.tanh(x).clamp(-1, 1))
        degrees = torch.arange(s.detail + 1, dtype=x.dtype)
        basis = torch.cos(angle[..., None] * degrees).reshape(len(x), -1)
        psi = F.layer_norm(
            F.linear(basis, self.get_parameter("poly")),
            (s.width,),
            self.get_parameter("norm_w"),
            self.get_parameter("norm_b"),
        )
        y = psi
        for k in range(s.layers):
            y = torch.relu(
                F.linear(
                    F.linear(psi * y, self.get_parameter(f"a{k}")),
                    self.get_parameter(f"c{k}"),
                    self.get_parameter(f"b{k}"),
                )
            )
        return F.linear(psi * y, self.get_parameter("w_out"), self.get_parameter("b_out"))


_CLASSES = {"siren": Siren, "finer": Finer, "hash-grid": HashGrid, "sl2a": Sl2a}


def new_field(shape: FieldShape, seed: int) -> Field:
    """A network at its start."""
    field = _CLASSES[shape.network](shape)
    field.start(torch.Generator().manual_seed(seed))
    return field


def field_of(shape: FieldShape, weights: dict[str, np.ndarray]) -> Field:
    """A network with given weights."""
    field = _CLASSES[shape.network](shape)
    field.put(weights)
    return field
