"""Where a voxel grid lies in the world.

Inner coordinates u = (p - centre) / half side: the inner box is [-1, 1]^3. An unbounded scene is contracted with the
infinity norm (DVGO v2 after mip-NeRF 360, eq. 10): with n = max |u_k|, u stays for n <= 1 and becomes (2 - 1 / n) u / n
beyond, so that all of space lies in [-2, 2]^3. The grid's vertices are evenly spaced over [-1, 1]^3 or [-2, 2]^3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenerep.errors import SceneRepError
from scenerep.scenes import MipVoxels, Voxels

OPTICAL = 64.0
"""Optical length of half a side of the inner box at an activated density of 1. It makes densities independent of the
grid's resolution: a grid keeps its meaning when it is refined."""
SHIFT = -7.2
"""Added to the raw density, so that 0 is nearly empty: that is how a training starts."""
_OPAQUE = 0.5  # opacity of a voxel from which on it counts as something
_SH_C0 = 0.28209479177387814


@dataclass(frozen=True, eq=False)
class Space:
    """size: (nx, ny, nz) vertices. box: float64 [2, 3], corners of the inner box in world units."""

    size: tuple[int, int, int]
    box: np.ndarray
    contracted: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(int(n) for n in self.size))
        object.__setattr__(self, "box", np.asarray(self.box, np.float64))
        if min(self.size) < 2 or not (self.box[0] < self.box[1]).all():
            raise SceneRepError(f"a grid of {self.size} vertices in the box {self.box.tolist()} is empty")

    @property
    def centre(self) -> np.ndarray:
        """float64 [3]."""
        return self.box.mean(axis=0)

    @property
    def half(self) -> np.ndarray:
        """float64 [3]: half sides of the inner box."""
        return (self.box[1] - self.box[0]) / 2

    @property
    def extent(self) -> float:
        """The grid spans [-extent, extent] in inner coordinates."""
        return 2.0 if self.contracted else 1.0

    @property
    def voxel(self) -> float:
        """Smallest side of an inner voxel, in world units."""
        return float((2 * self.extent * self.half / (np.array(self.size) - 1)).min())

    @property
    def inner_voxel(self) -> float:
        """The same in inner coordinates."""
        return float((2 * self.extent / (np.array(self.size) - 1)).min())

    def to_grid(self, points: np.ndarray) -> np.ndarray:
        """World points [n, 3] in units of vertices, float64 [n, 3]: (0, 0, 0) is the first vertex."""
        u = (np.asarray(points, np.float64) - self.centre) / self.half
        if self.contracted:
            n = np.abs(u).max(axis=-1, keepdims=True)
            u = np.where(n > 1, (2 - 1 / np.maximum(n, 1)) * u / np.maximum(n, 1e-12), u)
        return (u + self.extent) / (2 * self.extent) * (np.array(self.size) - 1)

    def to_world(self, grid: np.ndarray) -> np.ndarray:
        """The inverse of `to_grid`; what lies at infinity is put at a thousand half sides."""
        u = np.asarray(grid, np.float64) / (np.array(self.size) - 1) * (2 * self.extent) - self.extent
        if self.contracted:
            m = np.abs(u).max(axis=-1, keepdims=True)  # = 2 - 1 / n
            n = 1 / np.maximum(2 - m, 1e-3)
            u = np.where(m > 1, u / np.maximum(m, 1e-12) * n, u)
        return u * self.half + self.centre

    def voxel_at(self, points: np.ndarray) -> np.ndarray:
        """float64 [n]: side of a voxel at world points [n, 3], measured along the ray from the centre."""
        u = (np.asarray(points, np.float64) - self.centre) / self.half
        n = np.abs(u).max(axis=-1)
        return self.voxel * (np.maximum(n, 1.0) ** 2 if self.contracted else np.ones_like(n))


def space_of(scene: Voxels | MipVoxels) -> Space:
    """Where a scene's grid lies."""
    return Space(scene.size, scene.box, scene.contracted)


def finest(scene: Voxels | MipVoxels) -> tuple[np.ndarray, np.ndarray]:
    """(index [n], values [n, c]) of a scene's finest level."""
    return (scene.index, scene.values) if isinstance(scene, Voxels) else (scene.indices[0], scene.values[0])


def activated(raw: np.ndarray) -> np.ndarray:
    """Density of a raw density: exp(x) for x < 0, 1 + x above, with x = raw + SHIFT."""
    x = np.asarray(raw, np.float32) + np.float32(SHIFT)
    return np.exp(np.minimum(x, 0)) + np.maximum(x, 0)


def opacities(scene: Voxels | MipVoxels) -> np.ndarray:
    """float32 [n]: how much a voxel's length of each vertex's density hides, in the finest level."""
    return 1.0 - np.exp(-activated(finest(scene)[1][:, 0]) * OPTICAL * space_of(scene).inner_voxel)


def opaque(scene: Voxels | MipVoxels) -> np.ndarray:
    """bool [n]: the vertices inside the inner box that hide what is behind them; all opaque ones if there are none."""
    found = opacities(scene) > _OPAQUE
    space = space_of(scene)
    inside = (np.abs(vertex_positions(scene) - space.centre) <= space.half).all(axis=1)
    return found & inside if (found & inside).any() else found


def base_colours(scene: Voxels | MipVoxels) -> np.ndarray:
    """float32 [n, 3] in [0, 1]: colours without what changes with the view, in the finest level."""
    scale = _SH_C0 if isinstance(scene, Voxels) else 1.0
    return 1.0 / (1.0 + np.exp(-scale * finest(scene)[1][:, 1:4]))


def vertex_positions(scene: Voxels | MipVoxels) -> np.ndarray:
    """float64 [n, 3]: the kept vertices of the finest level in the world."""
    nx, ny, _ = scene.size
    layer, rest = np.divmod(finest(scene)[0], nx * ny)
    row, column = np.divmod(rest, nx)
    return space_of(scene).to_world(np.stack([column, row, layer], axis=1))
