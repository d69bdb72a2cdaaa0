"""Dense levels of vertices, and the native march through them: what a grid of any kind is made of.

Level 0 is the finest; each next one has half the cells along every side and values of its own. Arrays are made of zeros
that the system hands out when they are first written, so an untouched part costs no memory; 0 means "as at the start"
(space.SHIFT). A vertex takes 64 bytes, four times that in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.errors import ConfigError
from scenerep.native import native
from scenerep.voxels.space import OPTICAL, SHIFT, Space

CHANNELS = 16
BLOCK = 8
STEP = 0.5
"""Distance of samples on a ray, in voxels of level 0."""
LEAST_TRANSMITTANCE = 1e-3
NEAR = 0.15  # half sides of the inner box: nothing stands right in front of a camera
_DENSE = 5e-3  # opacity of a voxel from which on its cell, and those around it, are marched through
_TOUCHED, _DENSE_MARK = np.uint8(1), np.uint8(2)  # as in native/voxel.h
_LEAST_WEIGHT = 2e-4  # samples of less say little, and Adam would make much of it
_BETAS, _EPSILON = (0.9, 0.99), 1e-15

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Drawn:
    """features [n, f], alpha, depth, median_depth [n], float32. Depths are distances along the unit directions, 0 where
    nothing is; the median is where the transmittance falls below one half."""

    features: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray
    median_depth: np.ndarray
    samples: int


class Level:
    """Vertices of one level: values [nx ny nz, 16], marks (touched, dense), and what training needs."""

    def __init__(self, size: Size) -> None:
        self.size = size
        count = int(np.prod(size, dtype=np.int64))
        self.values = np.zeros((count, CHANNELS), np.float32)
        self.marks = np.zeros(count, np.uint8)
        self.training: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # gradients, Adam's m and v

    def moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradients and Adam's moments, made when they are first asked for."""
        if self.training is None:
            shape = self.values.shape  # not zeros_like, which writes every page
            self.training = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        return self.training

    def arrays(self) -> tuple:
        """As native/voxel.h takes them."""
        return (self.values, *(self.training or (None, None, None)), self.marks, list(self.size))

    def put(self, index: np.ndarray, values: np.ndarray) -> None:
        """Sets vertices [n] to values [n, c]."""
        self.values[index, : values.shape[1]] = values
        self.marks[index] = _TOUCHED

    def touched(self) -> np.ndarray:
        """int64 [n]: the vertices that were ever touched."""
        return np.flatnonzero(self.marks)

    def mark_dense(self, least: float) -> None:
        """Marks the touched vertices whose raw density reaches `least`."""
        index = self.touched()
        self.marks[index] = np.where(self.values[index, 0] >= least, _TOUCHED | _DENSE_MARK, _TOUCHED)

    def cells(self, margin: int) -> np.ndarray:
        """uint8 [vertices], at each cell's lowest vertex: 1 if one of its vertices is dense, or one further off."""
        cells = np.empty(len(self.values), np.uint8)
        native().voxel_occupancy(self.marks, list(self.size), margin, cells, np.empty(block_count(self.size), np.uint8))
        return cells >> 1

    def kept(self) -> np.ndarray:
        """bool [vertices]: those within one vertex of a dense one."""
        nx, ny, nz = self.size
        near = (self.marks & _DENSE_MARK).astype(bool).reshape(nz, ny, nx)
        for axis in range(3):
            wide = near.copy()
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            wide[tuple(ahead)] |= near[tuple(behind)]
            wide[tuple(behind)] |= near[tuple(ahead)]
            near = wide
        return near.reshape(-1)

    def resized(self, size: Size) -> Level:
        """By trilinear interpolation, around what was touched."""
        out = Level(size)
        native().voxel_resample(self.values, self.marks, list(self.size), out.values, out.marks, list(size))
        return out


class Pyramid:
    """Levels of one space and the march through them.

    Args:
        space: Of level 0. With more than one level, the cells along its sides can be halved that often.
        levels: How many.
        features: Channels after the density that are summed up along a ray, each through the logistic function; or 3,
            the colours of SH of `degree`.
        degree: 0 or 1; -1 for features without SH.
    """

    def __init__(self, space: Space, levels: int, features: int, degree: int, step: float = STEP) -> None:
        if any((n - 1) % (1 << (levels - 1)) for n in space.size):
            raise ConfigError(f"{space.size} vertices cannot be halved {levels - 1} times")
        self.space, self.features, self.degree, self.step = space, features, degree, step
        self.levels = [Level(_halved(space.size, k)) for k in range(levels)]
        self.steps = 0
        self.occupancy: tuple[np.ndarray, np.ndarray] | None = None  # cells and blocks; None: march everywhere
        self._drawn: tuple[int, tuple[np.ndarray, np.ndarray]] | None = None
        self._marcher: Any = None

    def march(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        radii: np.ndarray | None,
        *,
        seed: int,
        open_all: bool,
        least_weight: float = _LEAST_WEIGHT,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """(features [n, f], alpha [n], samples) of rays, kept for `learn`.

        Args:
            origins, directions: float32 [n, 3]; directions of length 1.
            radii: float32 [n], half a pixel's width at distance 1; None: level 0 throughout.
            seed: Of the offset of the first sample of each ray.
            open_all: March through closed cells too, so that they can come back.
            least_weight: Samples of less are left out of `learn`, unless everything is open.
        """
        features, alpha = np.empty((len(origins), self.features), np.float32), np.empty(len(origins), np.float32)
        cells, blocks = (None, None) if open_all or self.occupancy is None else self.occupancy
        least = 0.0 if cells is None else least_weight
        rays = origins, directions, radii, cells, blocks
        samples = self.bound().forward(*rays, True, True, seed, LEAST_TRANSMITTANCE, least, features, alpha, None, None)
        return features, alpha, samples

    def learn(
        self,
        d_features: np.ndarray,
        d_alpha: np.ndarray,
        rates: np.ndarray,
        smoothing: np.ndarray,
        sparsity: float = 0.0,
    ) -> int:
        """One step of Adam on the vertices that the rays of the last `march` touched; returns their number.

        Args:
            d_features, d_alpha: Slopes of the loss, float32 [n, f] and [n].
            rates, smoothing: float32 [16], by channel: learning rates, and weights of half the squared differences
                between touched vertices and their six neighbours (total variation).
            sparsity: Weight of the activated densities of what was touched: it clears the air of what no ray needs.
        """
        marcher = self.bound()
        marcher.backward(np.ascontiguousarray(d_features), np.ascontiguousarray(d_alpha))
        self.steps += 1
        return marcher.apply(rates, smoothing, sparsity, *_BETAS, _EPSILON, self.steps)

    def draw(self, origins: np.ndarray, directions: np.ndarray, radii: np.ndarray | None = None) -> Drawn:
        """Rays through the cells that are not nearly empty; arguments as in `march`."""
        n = len(origins)
        features, alpha = np.empty((n, self.features), np.float32), np.empty(n, np.float32)
        depth, median = np.empty(n, np.float32), np.empty(n, np.float32)
        if self._drawn is None or self._drawn[0] != self.steps:
            self._drawn = self.steps, self._cells(margin=0)
        rays = origins, directions, radii, *self._drawn[1]
        samples = self.bound(train=False).forward(
            *rays, False, False, 0, LEAST_TRANSMITTANCE, 0.0, features, alpha, depth, median
        )
        return Drawn(features, alpha, depth, median, samples)

    def update_occupancy(self) -> None:
        """Closes the cells that are nearly empty, and whose neighbours are; opens those that are not any more."""
        self.occupancy = self._cells(margin=1)

    def __len__(self) -> int:
        """Cells of level 0 that are marched through."""
        if self.occupancy is None:
            return int(np.prod(self.space.size, dtype=np.int64))
        return int(np.count_nonzero(self.occupancy[0]))

    def resized(self, size: Size) -> Pyramid:
        """The same field with another level 0, by trilinear interpolation. Adam starts anew.

        A level that has the size of one of the old ones takes over its values.
        """
        space = Space(size, self.space.box, self.space.contracted)
        out = Pyramid(space, len(self.levels), self.features, self.degree, self.step)
        old = {level.size: level for level in self.levels}
        for k, level in enumerate(out.levels):
            source = old.get(level.size) or self.levels[min(k, len(self.levels) - 1)]
            out.levels[k] = source.resized(level.size)
        out.steps = max(self.steps, 1)
        out.mark_dense()
        if self.occupancy is not None:
            out.update_occupancy()
        return out

    def mark_dense(self) -> None:
        """Finds out which vertices are dense, after values were put in."""
        for level in self.levels:
            level.mark_dense(self.least)
        self._drawn = None

    @property
    def least(self) -> float:
        """Raw density at which a voxel of level 0 hides `_DENSE`."""
        density = -np.log1p(-_DENSE) / (OPTICAL * self.space.inner_voxel)
        return float((np.log(density) if density < 1 else density - 1) - SHIFT)

    # --- checkpoints

    def state(self, used: int) -> dict[str, np.ndarray]:
        """All vertices that were ever touched, `used` channels of them; `kept` tells which of them rendering needs."""
        arrays = {}
        for k, level in enumerate(self.levels):
            index = level.touched()
            arrays |= {
                f"index{k}": index,
                f"values{k}": level.values[index, :used],
                f"kept{k}": level.kept()[index].astype(np.uint8),
            }
            if level.training is not None:
                arrays |= {f"adam_m{k}": level.training[1][index, :used], f"adam_v{k}": level.training[2][index, :used]}
        if self.occupancy is not None:
            arrays["cells"] = np.packbits(self.occupancy[0])
        return arrays

    def load(self, arrays: dict[str, np.ndarray], steps: int) -> None:
        """The inverse of `state`."""
        for k, level in enumerate(self.levels):
            index = arrays[f"index{k}"]
            level.put(index, arrays[f"values{k}"])
            if f"adam_m{k}" in arrays:
                for moment, name in zip(level.moments()[1:], ("adam_m", "adam_v"), strict=True):
                    moment[index, : arrays[f"{name}{k}"].shape[1]] = arrays[f"{name}{k}"]
        self.steps = steps
        self.mark_dense()
        if "cells" in arrays:
            cells = np.unpackbits(arrays["cells"], count=len(self.levels[0].values))
            self.occupancy = cells, blocks_of(cells, self.space.size)

    def cells_to_draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Cells and blocks that are not nearly empty, without their neighbours: what `draw` marches through."""
        return self._cells(margin=0)

    def bound(self, *, train: bool = True) -> Any:
        """The native marcher of these arrays; with `train`, of gradients and moments too."""
        if train and any(level.training is None for level in self.levels):
            for level in self.levels:
                level.moments()
            self._marcher = None
        if self._marcher is None:
            arrays = [level.arrays() for level in self.levels]
            self._marcher = make_marcher(self.space, self.step, arrays, self.features, self.degree, self.least)
        return self._marcher

    def _cells(self, margin: int) -> tuple[np.ndarray, np.ndarray]:
        """Cells of level 0 that are dense in any level, and the blocks that hold one."""
        cells = self.levels[0].cells(margin)
        nx, ny, nz = self.space.size
        whole = cells.reshape(nz, ny, nx)
        for k, level in enumerate(self.levels[1:], start=1):
            coarse = level.cells(margin).reshape(level.size[::-1])[:-1, :-1, :-1]
            for axis in range(3):
                coarse = coarse.repeat(1 << k, axis=axis)
            whole[:-1, :-1, :-1] |= coarse
        return cells, blocks_of(cells, self.space.size)


def make_marcher(space: Space, step: float, levels: list[tuple], features: int, degree: int, dense: float) -> Any:
    """A native marcher of these levels; the caller keeps their arrays alive. See native/voxel.h."""
    marcher = native().VoxelMarcher()
    marcher.configure(
        space.centre.tolist(),
        space.half.tolist(),
        space.contracted,
        step * space.voxel,
        step * OPTICAL * space.inner_voxel,
        SHIFT,
        space.voxel,
        NEAR * float(space.half.min()),
        dense,
        levels,
        features,
        degree,
    )
    return marcher


def block_count(size: Size) -> int:
    """Blocks of 8 x 8 x 8 cells."""
    return int(np.prod([-(-(n - 1) // BLOCK) for n in size]))


def blocks_of(cells: np.ndarray, size: Size) -> np.ndarray:
    """uint8 [block_count]: which blocks of 8 x 8 x 8 cells have one that is marched through."""
    nx, ny, nz = size
    inner = cells.reshape(nz, ny, nx)[:-1, :-1, :-1]
    padded = np.pad(inner, [(0, -(-(n - 1) // BLOCK) * BLOCK - (n - 1)) for n in (nz, ny, nx)])
    for axis in range(3):
        padded = np.maximum.reduceat(padded, np.arange(0, padded.shape[axis], BLOCK), axis=axis)
    return np.ascontiguousarray(padded.reshape(-1))


def _halved(size: Size, times: int) -> Size:
    nx, ny, nz = (((n - 1) >> times) + 1 for n in size)
    return nx, ny, nz
