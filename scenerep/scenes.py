"""Scenes: one representation as plain named arrays and metadata. No optimiser, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scenerep.errors import SceneRepError

_ARRAYS = ("means", "log_scales", "quats", "opacity_logits", "sh")


@dataclass(frozen=True)
class Gaussians:
    """A splat scene, in the conventions of docs/architecture.md.

    All arrays are float32 and contiguous:
    means [n, 3]; log_scales [n, 3] (natural log of the standard deviations); quats [n, 4] wxyz, any length but zero;
    opacity_logits [n]; sh [n, (d + 1)^2, 3], d <= 3, colour = 0.5 + sum of basis times coefficient, real SH in the
    3DGS sign convention. World axes are those of the capture (OpenCV cameras).
    """

    means: np.ndarray
    log_scales: np.ndarray
    quats: np.ndarray
    opacity_logits: np.ndarray
    sh: np.ndarray
    antialiased: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.means.shape[0]
        shapes = {
            "means": (n, 3),
            "log_scales": (n, 3),
            "quats": (n, 4),
            "opacity_logits": (n,),
            "sh": (n, self.sh.shape[1] if self.sh.ndim == 3 else -1, 3),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise SceneRepError(f"Gaussians.{name} has shape {array.shape}, expected {shape}")
            object.__setattr__(self, name, np.ascontiguousarray(array, dtype=np.float32))
        if self.sh.shape[1] not in (1, 4, 9, 16):
            raise SceneRepError(f"Gaussians.sh has {self.sh.shape[1]} coefficients, expected 1, 4, 9 or 16")

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def sh_degree(self) -> int:
        return int(np.sqrt(self.sh.shape[1])) - 1

    def arrays(self) -> dict[str, np.ndarray]:
        """The named arrays, in a fixed order."""
        return {name: getattr(self, name) for name in _ARRAYS}

    def select(self, index: np.ndarray) -> Gaussians:
        """The Gaussians named by a boolean mask or an index array."""
        return replace(self, **{name: array[index] for name, array in self.arrays().items()})
