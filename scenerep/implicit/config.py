"""Options of `scenerep train field`. No torch; the docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scenerep.field_shapes import NetworkName
from scenerep.scenes import PICTURE, RADIANCE, SURFACE

_NETWORKS: dict[str, NetworkName] = {PICTURE: "hash-grid", SURFACE: "siren", RADIANCE: "hash-grid"}
_MINUTES = {"fast": 0.5, "medium": 2.0, "high": 10.0}
_WEIGHTS = {"fast": 50_000, "medium": 100_000, "high": 200_000}
_PICTURE_RATES = {"siren": 2e-3, "finer": 2e-3, "hash-grid": 2e-2, "sl2a": 1e-2}
_SPACE_RATES = {"siren": 5e-4, "finer": 5e-4, "hash-grid": 1e-2, "sl2a": 2e-3}


@dataclass(frozen=True)
class FieldConfig:
    """Train a coordinate network: a picture, the surface of a mesh, or a capture as the weights of a small network."""

    network: NetworkName | None = None
    """siren: sines. finer: sines of growing frequency. hash-grid: tables and a small network, as in Instant NGP. sl2a:
    learnable polynomial activations. Default: siren for a mesh, hash-grid for pictures and captures;
    docs/fields.md compares them."""
    quality: Literal["fast", "medium", "high"] = "medium"
    """Preset of time and size: fast half a minute and 50,000 weights, medium 2 and 100,000, high 10 and 200,000; eight
    times the weights for the tables of a capture."""
    minutes: float | None = None
    """Train for this long, wall clock; schedules adapt to the machine's speed. Overrides the preset."""
    steps: int | None = None
    """Train for this many steps instead; the same steps and seed give the same network, also when interrupted."""
    weights: int | None = None
    """Weights of the network at most; it is made as wide as they allow. Overrides the preset."""
    layers: int | None = None
    """Hidden layers. Default: 3; 2 for hash-grid."""
    batch: int = 8192
    """Pixels or points in a step; of a capture a quarter of the samples on its rays."""
    resolution: int = 160
    """Of a capture: voxels along a side of the grid that the field is drawn from, half of which samples are apart."""
    rate: float | None = None
    """Learning rate of Adam at the start. Default: what suits the network and its subject."""
    background: Literal["white", "black"] = "white"
    """Colour behind a picture with transparency."""
    save_seconds: float = 60.0
    """Time between two checkpoints."""

    def resolved_minutes(self) -> float | None:
        """Minutes of the time budget, or None if `steps` rules."""
        if self.steps is not None:
            return None
        return self.minutes if self.minutes is not None else _MINUTES[self.quality]

    def resolved_network(self, subject: str) -> NetworkName:
        """The kind of network for a subject (scenes.SUBJECTS)."""
        return self.network if self.network is not None else _NETWORKS[subject]

    def resolved_weights(self, subject: str) -> int:
        """Weights of the network at most."""
        if self.weights is not None:
            return self.weights
        tables = subject == RADIANCE and self.resolved_network(subject) == "hash-grid"
        return _WEIGHTS[self.quality] * (8 if tables else 1)

    def resolved_rate(self, subject: str) -> float:
        """Learning rate at the start."""
        if self.rate is not None:
            return self.rate
        return (_PICTURE_RATES if subject == PICTURE else _SPACE_RATES)[self.resolved_network(subject)]
