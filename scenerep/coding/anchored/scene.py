"""What an anchored scene consists of. All that is coded are integers; the steps that give them values stand here too.

n = anchors, K = coupled primitives of each, C and G = sizes of reference and residual embeddings, D = numbers that
are predicted for a primitive.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from scenerep.coding.quantiser import INTEGER_LIMIT, MAX_DEPTH, contract, expand
from scenerep.errors import ConfigError, SceneRepError

WEIGHT_LIMIT = 1 << 15
PREDICTION_BITS = 11
"""A weight of the prediction is its integer / 2^11."""
STEP_LIMIT = 1e4
ENTROPY_BITS = 8
"""A weight of the entropy model is its integer / 2^8."""

SCALES = 6
"""Of an anchor: natural logarithms of the reach of its primitives along x y z, then of their standard deviations."""
GEOMETRY = 10
"""Of the D numbers: offset 3, log scales 3, rotation vector 3, opacity logit 1; then Y Co Cg of each SH coefficient."""


@dataclass(frozen=True)
class Layout:
    """Sizes of everything.

    Raises:
        ConfigError: one is out of its range.
    """

    coupled: int = 10
    """K, primitives of an anchor."""
    reference: int = 32
    """C, numbers of a reference embedding."""
    residual: int = 8
    """G, numbers of a residual embedding."""
    reference_hyper: int = 4
    """Numbers of the hyper-prior of a reference embedding."""
    residual_hyper: int = 1
    """Numbers of the hyper-prior of a residual embedding."""
    width: int = 48
    """Neurons of the hidden layers that predict primitives."""
    entropy_width: int = 32
    """Neurons of the hidden layers that predict distributions."""
    sh_degree: int = 3
    """Of the primitives."""

    LIMITS: ClassVar = {
        "coupled": (1, 32),
        "reference": (1, 64),
        "residual": (1, 32),
        "reference_hyper": (1, 16),
        "residual_hyper": (1, 4),
        "width": (1, 128),
        "entropy_width": (1, 128),
        "sh_degree": (0, 3),
    }

    def __post_init__(self) -> None:
        for name, (low, high) in self.LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"anchored splats with {name} = {value}", f"use {low} to {high}")

    @property
    def predicted(self) -> int:
        """D."""
        return GEOMETRY + 3 * (self.sh_degree + 1) ** 2

    def weight_shapes(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of each array of weights, in the order of the file; a bias has one row."""
        c, g, w, e, d = self.reference, self.residual, self.width, self.entropy_width, self.predicted
        shapes = {
            "prediction.skip": (c + g, d),
            "prediction.fuse": (c + g, w),
            "prediction.fuse_bias": (1, w),
            "prediction.deepen": (w, w),
            "prediction.deepen_bias": (1, w),
            "prediction.head": (w, d),
            "prediction.bias": (1, d),
        }
        for name, given, found in (
            ("reference", self.reference_hyper, c),
            ("scales", c, SCALES),
            ("residual", c + self.coupled * self.residual_hyper, self.coupled * g),
        ):
            shapes |= {
                f"{name}.hidden": (given, e),
                f"{name}.hidden_bias": (1, e),
                f"{name}.out": (e, 2 * found),
                f"{name}.out_bias": (1, 2 * found),
            }
        return shapes

    def to_dict(self) -> dict[str, int]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class Grid:
    """Where the anchors' integer coordinates lie in the world; the fields are those of `Quantiser`."""

    origin: tuple[float, float, float]
    position: float
    depth: int
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 0.0

    def __post_init__(self) -> None:
        numbers = (*self.origin, *self.centre, self.position, self.radius)
        if not np.all(np.isfinite(numbers)) or not self.position > 0 or self.radius < 0:
            raise ConfigError("the grid of the anchors is not finite, or has no positive step")
        if not 1 <= self.depth <= MAX_DEPTH:
            raise ConfigError(f"an octree of depth {self.depth} is not supported", f"use 1 to {MAX_DEPTH}")

    def integers(self, world: np.ndarray) -> np.ndarray:
        """int32 [n, 3] of positions [n, 3]; those outside go to the border."""
        places = (contract(world, self.centre, self.radius) - self.origin) / self.position
        return np.clip(np.floor(places + 0.5), 0, 2**self.depth - 1).astype(np.int32)

    def world(self, integers: np.ndarray) -> np.ndarray:
        """float64 [n, 3], the inverse."""
        return expand(np.array(self.origin) + integers * self.position, self.centre, self.radius)


@dataclass(frozen=True)
class AnchoredSplats:
    """Integers (int32), and the steps (float32) of reference and residual embeddings [2] and of the scales [6].

    positions [n, 3] on the grid; reference [n, C]; scales [n, 6] in steps; residual [n, K, G]; reference_hyper [n, .]
    and residual_hyper [n, K * .]; weights by the names and shapes of the layout.
    """

    layout: Layout
    grid: Grid
    embedding_steps: np.ndarray
    scale_steps: np.ndarray
    positions: np.ndarray
    reference: np.ndarray
    scales: np.ndarray
    residual: np.ndarray
    reference_hyper: np.ndarray
    residual_hyper: np.ndarray
    weights: dict[str, np.ndarray]
    antialiased: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, at = len(self.positions), self.layout
        shapes = {
            "positions": (n, 3),
            "reference": (n, at.reference),
            "scales": (n, SCALES),
            "residual": (n, at.coupled, at.residual),
            "reference_hyper": (n, at.reference_hyper),
            "residual_hyper": (n, at.coupled * at.residual_hyper),
        }
        for name, shape in shapes.items():
            object.__setattr__(self, name, _integers(name, getattr(self, name), shape, INTEGER_LIMIT))
        expected = at.weight_shapes()
        if self.weights.keys() != expected.keys():
            raise SceneRepError("AnchoredSplats.weights are not those of the layout")
        weights = {name: _integers(name, self.weights[name], shape, WEIGHT_LIMIT) for name, shape in expected.items()}
        object.__setattr__(self, "weights", weights)
        for name, count in (("embedding_steps", 2), ("scale_steps", SCALES)):
            steps = np.asarray(getattr(self, name), np.float32)
            if steps.shape != (count,) or not np.all((steps > 0) & (steps < STEP_LIMIT)):
                raise SceneRepError(f"AnchoredSplats.{name} are not {count} positive numbers below {STEP_LIMIT:g}")
            object.__setattr__(self, name, steps)

    def __len__(self) -> int:
        """Anchors."""
        return len(self.positions)

    @property
    def primitives(self) -> int:
        """Coupled primitives of all anchors."""
        return len(self) * self.layout.coupled


def _integers(name: str, array: np.ndarray, shape: tuple[int, ...], limit: int) -> np.ndarray:
    array = np.asarray(array)
    if array.shape != shape or not np.issubdtype(array.dtype, np.integer):
        raise SceneRepError(f"AnchoredSplats: {name} is {array.dtype}{array.shape}, expected integers of shape {shape}")
    if array.size and max(-int(array.min()), int(array.max())) >= limit:
        raise SceneRepError(f"AnchoredSplats: {name} has values beyond +-{limit}")
    return np.ascontiguousarray(array, dtype=np.int32)
