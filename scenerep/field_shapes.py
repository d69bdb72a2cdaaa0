"""Shapes of coordinate networks: which arrays a network of a kind has, in which order, and how many weights. No torch.

`implicit/networks.py` says what the arrays mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

NetworkName = Literal["siren", "finer", "hash-grid", "sl2a"]
NETWORKS: tuple[NetworkName, ...] = ("siren", "finer", "hash-grid", "sl2a")
GRID_FEATURES = 2
"""Features of a row of a hash grid's tables."""
MAX_WIDTH, MAX_LAYERS, MAX_DETAIL, MAX_LEVELS, MAX_WEIGHTS = 1024, 16, 512, 24, 1 << 24

_LAYERS = {"siren": 3, "finer": 3, "hash-grid": 2, "sl2a": 3}
_LEVELS = 12
_HASH_WIDTH = 32
_COARSEST = 16
_OMEGA = 30.0
_SURFACE_FINER_OMEGA = 10.0  # its frequency grows by itself
_SURFACE_DEGREE = 8


@dataclass(frozen=True)
class FieldShape:
    """What a network consists of.

    inputs: 2 for pictures, 3 in space. outputs: 3 for colours, 1 for distances, 13 for density and SH.
    width: Units of a hidden layer. layers: Hidden layers.
    detail: sl2a: degree of its polynomials. hash-grid: cells along a side of the finest level. Otherwise 0.
    rank: sl2a: rank of its hidden layers. hash-grid: rows of a level's table at most. Otherwise 0.
    levels: hash-grid: levels of its tables. Otherwise 0.
    omega: siren, finer: frequency of the sines. Otherwise 0.
    """

    network: NetworkName
    inputs: int
    outputs: int
    width: int
    layers: int
    detail: int = 0
    rank: int = 0
    levels: int = 0
    omega: float = 0.0

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array by name, in the order in which they are written."""
        build = {"siren": _sines, "finer": _sines, "hash-grid": _hash_grid, "sl2a": _sl2a}[self.network]
        return build(self)

    def count(self) -> int:
        """Weights of all arrays."""
        total = 0
        for shape in self.arrays().values():
            size = 1
            for n in shape:
                size *= n
            total += size
        return total

    def level_cells(self) -> list[int]:
        """hash-grid: cells along a side of each level, coarse to fine by a constant factor (Instant NGP, eq. 2)."""
        if self.levels == 1:
            return [self.detail]
        growth = (self.detail / _COARSEST) ** (1 / (self.levels - 1))
        return [round(_COARSEST * growth**k) for k in range(self.levels)]

    def level_rows(self) -> list[int]:
        """hash-grid: rows of each level's table: a row a vertex where these fit, `rank` otherwise."""
        return [min(self.rank, (cells + 1) ** self.inputs) for cells in self.level_cells()]

    def fault(self) -> str | None:
        """What is impossible about the numbers (of a file), or None."""
        hashed, polynomial = self.network == "hash-grid", self.network == "sl2a"
        sine = self.network in ("siren", "finer")
        checks = {
            "inputs": self.inputs in (2, 3),
            "outputs": 1 <= self.outputs <= 16,
            "width": 1 <= self.width <= MAX_WIDTH,
            "layers": 1 <= self.layers <= MAX_LAYERS,
            "detail": (1 <= self.detail <= MAX_DETAIL)
            if polynomial
            else (_COARSEST <= self.detail <= 1 << 14 or not hashed),
            "rank": 1 <= self.rank <= (MAX_WIDTH if polynomial else 1 << 22) or sine,
            "levels": 1 <= self.levels <= MAX_LEVELS or not hashed,
            "omega": 0 < self.omega <= 1000 or not sine,  # nan too
        }
        for name, fits in checks.items():
            if not fits:
                return f"{name} {getattr(self, name)}"
        count = self.count()
        return None if count <= MAX_WEIGHTS else f"{count} weights"


def shape_within(
    network: NetworkName, inputs: int, outputs: int, weights: int, *, finest: int = 512, layers: int | None = None
) -> FieldShape:
    """The largest network of a kind with at most so many weights: the widest one, or the one with the largest tables.

    Args:
        finest: Cells along a side of a hash grid's finest level.
        layers: Hidden layers; by default what suits the kind.
    """
    base = FieldShape(network, inputs, outputs, 1, layers or _LAYERS[network])
    if network == "hash-grid":
        base = replace(base, width=_HASH_WIDTH, detail=max(finest, _COARSEST), levels=_LEVELS)
        return _largest(lambda n: replace(base, rank=n), weights, 1 << 22)
    if network == "sl2a":
        # Of a picture the polynomials take half of the weights. A surface is smooth: high degrees only shake it.
        return _largest(
            lambda n: replace(
                base,
                width=n,
                rank=max(1, n // 2 if inputs == 2 else 2 * n // 5),
                detail=max(_SURFACE_DEGREE, min(256, 2 * n)) if inputs == 2 else _SURFACE_DEGREE,
            ),
            weights,
            MAX_WIDTH,
        )
    omega = _SURFACE_FINER_OMEGA if network == "finer" and inputs == 3 else _OMEGA
    return _largest(lambda n: replace(base, width=n, omega=omega), weights, MAX_WIDTH)


def _largest(shape: Callable[[int], FieldShape], weights: int, most: int) -> FieldShape:
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if shape(middle).count() <= weights else (low, middle - 1)
    return shape(low)


def _sines(s: FieldShape) -> dict[str, tuple[int, ...]]:
    return _dense([s.inputs] + [s.width] * s.layers + [s.outputs])


def _hash_grid(s: FieldShape) -> dict[str, tuple[int, ...]]:
    tables: dict[str, tuple[int, ...]] = {f"table{k}": (rows, GRID_FEATURES) for k, rows in enumerate(s.level_rows())}
    return tables | _dense([GRID_FEATURES * s.levels] + [s.width] * s.layers + [s.outputs])


def _sl2a(s: FieldShape) -> dict[str, tuple[int, ...]]:
    arrays: dict[str, tuple[int, ...]] = {
        "poly": (s.width, s.inputs * (s.detail + 1)),
        "norm_w": (s.width,),
        "norm_b": (s.width,),
    }
    for k in range(s.layers):
        arrays |= {f"a{k}": (s.rank, s.width), f"c{k}": (s.width, s.rank), f"b{k}": (s.width,)}
    return arrays | {"w_out": (s.outputs, s.width), "b_out": (s.outputs,)}


def _dense(widths: list[int]) -> dict[str, tuple[int, ...]]:
    arrays: dict[str, tuple[int, ...]] = {}
    for k, (before, after) in enumerate(itertools.pairwise(widths)):
        arrays |= {f"w{k}": (after, before), f"b{k}": (after,)}
    return arrays
