"""Scenes: one representation as plain named arrays and metadata. No optimiser, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from scenerep.errors import SceneRepError
from scenerep.field_shapes import FieldShape

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

    noun: ClassVar[str] = "Gaussians"

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


@dataclass(frozen=True)
class Voxels:
    """A radiance field on a grid, of which only the vertices that matter are kept.

    size: (nx, ny, nz) vertices of the full grid, each >= 2.
    index: int64 [n], ascending: linear index (z * ny + y) * nx + x of the kept vertices; the others are empty.
    values: float32 [n, 1 + 3 k]: raw density, then SH coefficients [k, 3]; k is 1 or 4 (degree 0 or 1).
        voxels/reference.py says what they mean.
    box: float64 [2, 3]: the inner box, its lower and upper corner in world units.
    contracted: The space around the inner box is contracted into a shell of the grid (voxels/space.py).
    step: Distance of samples on a ray, in voxels.
    """

    size: tuple[int, int, int]
    index: np.ndarray
    values: np.ndarray
    box: np.ndarray
    contracted: bool = False
    step: float = 0.5
    metadata: dict[str, Any] = field(default_factory=dict)

    noun: ClassVar[str] = "voxels"

    def __post_init__(self) -> None:
        n = len(self.index)
        if len(self.size) != 3 or min(self.size) < 2:
            raise SceneRepError(f"Voxels.size is {self.size}, expected three numbers of 2 and more")
        if self.values.ndim != 2 or len(self.values) != n or self.values.shape[1] not in (4, 13):
            raise SceneRepError(f"Voxels.values has shape {self.values.shape}, expected ({n}, 4) or ({n}, 13)")
        if np.shape(self.box) != (2, 3) or not (np.asarray(self.box)[0] < np.asarray(self.box)[1]).all():
            raise SceneRepError(f"Voxels.box is {self.box}, expected two corners, the lower one first")
        index = np.ascontiguousarray(self.index, np.int64)
        if n and (index[0] < 0 or index[-1] >= np.prod(self.size, dtype=np.int64) or (np.diff(index) <= 0).any()):
            raise SceneRepError("Voxels.index is not ascending within the grid")
        object.__setattr__(self, "size", tuple(int(s) for s in self.size))
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "values", np.ascontiguousarray(self.values, np.float32))
        object.__setattr__(self, "box", np.ascontiguousarray(self.box, np.float64))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def sh_degree(self) -> int:
        return 0 if self.values.shape[1] == 4 else 1

    def arrays(self) -> dict[str, np.ndarray]:
        """The named arrays, in a fixed order."""
        return {"index": self.index, "values": self.values}


@dataclass(frozen=True)
class MipVoxels:
    """A radiance field on a pyramid of grids, shaded pixel by pixel; voxels/mip_grid.py says what it means.

    size: (nx, ny, nz) vertices of level 0; level k has ((n - 1) / 2^k) + 1.
    indices: For each level, as Voxels.index.
    values: For each level float32 [n, 8]: raw density, three raw diffuse colours, four raw features.
    network: The weights of the shading network by name (voxels/shading.py), float32.
    box, contracted, step: As of Voxels.
    """

    size: tuple[int, int, int]
    indices: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]
    network: dict[str, np.ndarray]
    box: np.ndarray
    contracted: bool = False
    step: float = 0.5
    metadata: dict[str, Any] = field(default_factory=dict)

    noun: ClassVar[str] = "voxels"

    def __post_init__(self) -> None:
        if not self.indices or len(self.indices) != len(self.values):
            raise SceneRepError(f"MipVoxels has {len(self.indices)} index arrays and {len(self.values)} of values")
        if any((n - 1) % (1 << (len(self.indices) - 1)) for n in self.size):
            raise SceneRepError(f"MipVoxels.size {self.size} cannot be halved {len(self.indices) - 1} times")
        for k, (index, values) in enumerate(zip(self.indices, self.values, strict=True)):
            if values.shape != (len(index), 8):
                raise SceneRepError(f"MipVoxels.values {k} has shape {values.shape}, expected ({len(index)}, 8)")
            count = np.prod([((n - 1) >> k) + 1 for n in self.size], dtype=np.int64)
            if len(index) and (index[0] < 0 or index[-1] >= count or (np.diff(index) <= 0).any()):
                raise SceneRepError(f"MipVoxels.indices of level {k} is not ascending within the grid")
        object.__setattr__(self, "box", np.ascontiguousarray(self.box, np.float64))

    def __len__(self) -> int:
        return sum(len(index) for index in self.indices)

    @property
    def sh_degree(self) -> int:
        """No SH: a network shades."""
        return 0

    def arrays(self) -> dict[str, np.ndarray]:
        """The named arrays, in a fixed order."""
        levels = enumerate(zip(self.indices, self.values, strict=True))
        arrays = {f"{name}{k}": a for k, pair in levels for name, a in zip(("index", "values"), pair, strict=True)}
        return arrays | {f"mlp_{name}": w for name, w in self.network.items()}


SURFACE, PICTURE, RADIANCE = "surface", "picture", "radiance"
SUBJECTS = (SURFACE, PICTURE, RADIANCE)
"""Their order is that of the numbers in .srz files."""
_NETWORK_ENDS = {SURFACE: (3, 1), PICTURE: (2, 3), RADIANCE: (3, 13)}


@dataclass(frozen=True)
class NeuralField:
    """A picture, a surface or a radiance field as the weights of a network; implicit/networks.py says what they mean.

    weights: float32 arrays by name, as `shape.arrays()` lists them.
    subject: What the outputs are: of a surface its signed distance in the network's own units, negative inside; of a
        picture (1 + y) / 2, the colour; of a radiance field a vertex of Voxels, SH of degree 1.
    box: float64 [2, inputs]: what was learned, in world units or in pixels. The network sees it in [-1, 1] along the
        longest side, see `unit_places`; of a radiance field along every side, see voxels/space.py.
    march: Of a radiance field (nx, ny, nz): vertices of the grid that it is drawn from; otherwise None.
    contracted: Of a radiance field, as of Voxels.
    """

    shape: FieldShape
    weights: dict[str, np.ndarray]
    subject: str
    box: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)
    march: tuple[int, int, int] | None = None
    contracted: bool = False

    noun: ClassVar[str] = "weights"

    def __post_init__(self) -> None:
        shapes = {name: tuple(array.shape) for name, array in self.weights.items()}
        if shapes != self.shape.arrays() or list(shapes) != list(self.shape.arrays()):
            raise SceneRepError(f"NeuralField.weights has {shapes}, expected {self.shape.arrays()}")
        if _NETWORK_ENDS.get(self.subject) != (self.shape.inputs, self.shape.outputs):
            ends = f"{self.shape.inputs} inputs and {self.shape.outputs} outputs"
            raise SceneRepError(f"a network of {ends} is no {self.subject}")
        if (self.march is not None) != (self.subject == RADIANCE) or (self.march and min(self.march) < 2):
            raise SceneRepError(f"a network of a {self.subject} cannot have the grid {self.march}")
        box = np.ascontiguousarray(self.box, np.float64)
        if box.shape != (2, self.shape.inputs) or not np.isfinite(box).all() or not (box[0] < box[1]).all():
            raise SceneRepError(f"NeuralField.box is {self.box}, expected two corners, the lower one first")
        object.__setattr__(self, "box", box)
        object.__setattr__(
            self, "weights", {name: np.ascontiguousarray(a, np.float32) for name, a in self.weights.items()}
        )

    def __len__(self) -> int:
        return self.shape.count()

    @property
    def sh_degree(self) -> int:
        """No SH."""
        return 0

    def arrays(self) -> dict[str, np.ndarray]:
        """The named arrays, in a fixed order."""
        return self.weights


def unit_scale(box: np.ndarray) -> float:
    """World units or pixels that are 1 to a network: half the longest side of its box."""
    return float((box[1] - box[0]).max()) / 2


def unit_places(places: np.ndarray, box: np.ndarray) -> np.ndarray:
    """float32 [n, d]: places as a network sees them, the centre of its box at 0."""
    return ((places - (box[0] + box[1]) / 2) / unit_scale(box)).astype(np.float32)


Scene = Gaussians | Voxels | MipVoxels | NeuralField
