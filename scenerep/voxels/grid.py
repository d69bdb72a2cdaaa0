"""A voxel scene in its dense working form: what is trained, and what rays are marched through.

Arrays are made of zeros that the system hands out when they are first touched, so an untouched part of the grid costs
no memory; 0 means "as at the start" (space.SHIFT). A vertex takes 64 bytes, four times that in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.errors import ConfigError
from scenerep.native import native
from scenerep.scenes import Voxels
from scenerep.voxels.space import OPTICAL, SHIFT, Space, space_of

CHANNELS = 16
BLOCK = 8
STEP = 0.5
"""Distance of samples on a ray, in voxels."""
LEAST_TRANSMITTANCE = 1e-3
_DENSE = 5e-3  # opacity of a voxel from which on its cell, and those around it, are marched through
_TOUCHED, _DENSE_MARK = np.uint8(1), np.uint8(2)  # as in native/voxel.h
_LEAST_WEIGHT = 2e-4  # samples of less say little, and Adam would make much of it
_BETAS, _EPSILON = (0.9, 0.99), 1e-15
NEAR = 0.05  # half sides of the inner box: nothing stands right in front of a camera


@dataclass(frozen=True)
class Rates:
    """Learning rates of Adam for the raw density and for the SH coefficients."""

    density: float
    colour: float

    def channels(self) -> np.ndarray:
        return _channels(self.density, self.colour)


@dataclass(frozen=True)
class Smoothing:
    """Weights of half the squared differences between touched vertices and their six neighbours (total variation)."""

    density: float = 0.0
    colour: float = 0.0

    def channels(self) -> np.ndarray:
        return _channels(self.density, self.colour)


@dataclass(frozen=True)
class StepResult:
    """loss: Mean squared error over rays and channels. samples: Of all rays. touched: Vertices that were updated."""

    loss: float
    samples: int
    touched: int


@dataclass(frozen=True)
class Marched:
    """rgb [n, 3], alpha, depth, median_depth [n], float32. Depths are distances along the unit directions, 0 where
    nothing is; the median is where the transmittance falls below one half."""

    rgb: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray
    median_depth: np.ndarray
    samples: int


class Grid:
    """Dense values [nx ny nz, 16] of a space: raw density, then SH coefficients [k, 3], then padding."""

    def __init__(self, space: Space, sh_degree: int = 1, step: float = STEP) -> None:
        if sh_degree not in (0, 1):
            raise ConfigError(f"voxels have SH of degree 0 or 1, not {sh_degree}")
        self.space, self.sh_degree, self.step = space, sh_degree, step
        count = int(np.prod(space.size, dtype=np.int64))
        self.values = np.zeros((count, CHANNELS), np.float32)
        self.marks = np.zeros(count, np.uint8)
        self._training: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._occupancy: tuple[np.ndarray, np.ndarray] | None = None  # None: everything is marched through
        self._drawn: tuple[int, tuple[np.ndarray, np.ndarray]] | None = None
        self._steps = 0
        self._marcher: Any = None

    # --- training

    def train_step(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        targets: np.ndarray,
        *,
        background: np.ndarray,
        rates: Rates,
        smoothing: Smoothing | None = None,
        seed: int = 0,
        open_all: bool = False,
    ) -> StepResult:
        """One step of Adam on the mean squared error of a batch of rays, on the vertices that they touch.

        Args:
            origins, directions: float32 [n, 3]; directions of length 1.
            targets: float32 [n, 3] in [0, 1].
            background: float32 [3] or [n, 3], behind everything.
            smoothing: Of what the rays touch.
            seed: Of the offset of the first sample of each ray.
            open_all: March through closed cells too, so that they can come back.
        """
        marcher = self._bound(train=True)
        n = len(origins)
        rgb, alpha = np.empty((n, 3), np.float32), np.empty(n, np.float32)
        cells, blocks = (None, None) if open_all or self._occupancy is None else self._occupancy
        samples = marcher.forward(
            origins,
            directions,
            None,
            cells,
            blocks,
            True,
            True,
            seed,
            LEAST_TRANSMITTANCE,
            0.0 if cells is None else _LEAST_WEIGHT,
            rgb,
            alpha,
            None,
            None,
        )
        error = rgb + (1.0 - alpha)[:, None] * background - targets
        slope = error * np.float32(2.0 / (3 * n))
        marcher.backward(slope, np.ascontiguousarray(-(slope * background).sum(axis=1, dtype=np.float32)))
        self._steps += 1
        smooth = (smoothing or Smoothing()).channels()
        touched = marcher.apply(rates.channels(), smooth, *_BETAS, _EPSILON, self._steps)
        return StepResult(float(np.mean(error.astype(np.float64) ** 2)), samples, touched)

    def update_occupancy(self) -> None:
        """Closes the cells that are nearly empty, and whose neighbours are; opens those that are not any more."""
        self._occupancy = self._cells(margin=1)

    def __len__(self) -> int:
        """Cells that are marched through."""
        cells = self._occupancy
        return int(np.prod(self.space.size, dtype=np.int64)) if cells is None else int(np.count_nonzero(cells[0]))

    def resized(self, size: tuple[int, int, int]) -> Grid:
        """The same field on a finer or coarser grid, by trilinear interpolation. Adam starts anew."""
        space = Space(size, self.space.box, self.space.contracted)
        out = Grid(space, self.sh_degree, self.step)
        native().voxel_resample(
            self.values, self.marks, list(self.space.size), out.values, out.marks, list(out.space.size)
        )
        out._steps = max(self._steps, 1)
        out._find_dense()
        if self._occupancy is not None:
            out.update_occupancy()
        return out

    # --- rendering

    def render(self, origins: np.ndarray, directions: np.ndarray, background: np.ndarray) -> Marched:
        """Rays [n, 3] through the cells that are not nearly empty; arguments as in `train_step`."""
        n = len(origins)
        rgb, alpha = np.empty((n, 3), np.float32), np.empty(n, np.float32)
        depth, median = np.empty(n, np.float32), np.empty(n, np.float32)
        if self._drawn is None or self._drawn[0] != self._steps:
            self._drawn = self._steps, self._cells(margin=0)
        cells, blocks = self._drawn[1]
        samples = self._bound(train=False).forward(
            origins,
            directions,
            None,
            cells,
            blocks,
            False,
            False,
            0,
            LEAST_TRANSMITTANCE,
            0.0,
            rgb,
            alpha,
            depth,
            median,
        )
        rgb += (1.0 - alpha)[:, None] * background
        return Marched(rgb, alpha, depth, median, samples)

    # --- scenes and checkpoints

    def scene(self) -> Voxels:
        """What rendering needs of it: the vertices of cells that are not nearly empty."""
        index = np.flatnonzero(self._kept())
        return Voxels(
            size=self.space.size,
            index=index,
            values=self.values[index, : self._used].copy(),
            box=self.space.box,
            contracted=self.space.contracted,
            step=self.step,
        )

    @classmethod
    def from_scene(cls, scene: Voxels) -> Grid:
        """A grid to render from; vertices that the scene does not keep are in no cell that is marched through."""
        grid = cls(space_of(scene), scene.sh_degree, scene.step)
        grid.values[scene.index, : scene.values.shape[1]] = scene.values
        grid.marks[scene.index] = _TOUCHED
        grid._find_dense()
        return grid

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(arrays, JSON values) that `from_state` makes the same grid of: all vertices that were ever touched.

        `kept` tells which of them rendering needs.
        """
        index = np.flatnonzero(self.marks)
        used = self._used
        arrays = {
            "index": index,
            "values": self.values[index, :used],
            "kept": self._kept()[index].astype(np.uint8),
        }
        if self._training is not None:
            arrays |= {"adam_m": self._training[1][index, :used], "adam_v": self._training[2][index, :used]}
        if self._occupancy is not None:
            arrays["cells"] = np.packbits(self._occupancy[0])
        about = {
            "size": list(self.space.size),
            "box": self.space.box.tolist(),
            "contracted": self.space.contracted,
            "step": self.step,
            "sh_degree": self.sh_degree,
            "steps": self._steps,
        }
        return arrays, about

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> Grid:
        """The inverse of `state`."""
        space = Space(tuple(about["size"]), np.array(about["box"]), about["contracted"])
        grid = cls(space, about["sh_degree"], about["step"])
        index, used = arrays["index"], grid._used
        grid.values[index, :used] = arrays["values"]
        grid.marks[index] = _TOUCHED
        if "adam_m" in arrays:
            _, m, v = grid._moments()
            m[index, :used] = arrays["adam_m"]
            v[index, :used] = arrays["adam_v"]
        grid._steps = about["steps"]
        grid._find_dense()
        if "cells" in arrays:
            cells = np.unpackbits(arrays["cells"], count=len(grid.values))
            grid._occupancy = cells, _blocks_of(cells, space.size)
        return grid

    # --- inner parts

    @property
    def _used(self) -> int:
        return 4 if self.sh_degree == 0 else 13

    @property
    def _least(self) -> float:
        """Raw density at which a voxel's opacity is `_DENSE`."""
        density = -np.log1p(-_DENSE) / (OPTICAL * self.space.inner_voxel)
        return float((np.log(density) if density < 1 else density - 1) - SHIFT)

    def _moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self._training is None:
            shape = self.values.shape  # not zeros_like, which writes every page
            self._training = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        return self._training

    def _bound(self, *, train: bool) -> Any:
        """The native marcher of these arrays."""
        if train and self._training is None:
            self._moments()
            self._marcher = None
        if self._marcher is None:
            g, m, v = self._training or (None, None, None)
            self._marcher = make_marcher(
                self.space,
                self.step,
                [(self.values, g, m, v, self.marks, list(self.space.size))],
                3,
                self.sh_degree,
                self._least,
            )
        return self._marcher

    def _find_dense(self) -> None:
        touched = np.flatnonzero(self.marks)
        self.marks[touched] = np.where(self.values[touched, 0] >= self._least, _TOUCHED | _DENSE_MARK, _TOUCHED)

    def _cells(self, margin: int) -> tuple[np.ndarray, np.ndarray]:
        cells = np.empty(len(self.values), np.uint8)
        blocks = np.empty(_block_count(self.space.size), np.uint8)
        native().voxel_occupancy(self.marks, list(self.space.size), margin, cells, blocks)
        return cells, blocks

    def _kept(self) -> np.ndarray:
        """bool [vertices]: those within one vertex of a dense one."""
        nx, ny, nz = self.space.size
        near = (self.marks & _DENSE_MARK).astype(bool).reshape(nz, ny, nx)
        for axis in range(3):
            wide = near.copy()
            ahead = [slice(None)] * 3
            behind = [slice(None)] * 3
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            wide[tuple(ahead)] |= near[tuple(behind)]
            wide[tuple(behind)] |= near[tuple(ahead)]
            near = wide
        return near.reshape(-1)


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


def _channels(density: float, colour: float) -> np.ndarray:
    return np.array([density, *[colour] * (CHANNELS - 1)], np.float32)


def _block_count(size: tuple[int, int, int]) -> int:
    return int(np.prod([-(-(n - 1) // BLOCK) for n in size]))


def _blocks_of(cells: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Which blocks of 8 x 8 x 8 cells have one that is marched through."""
    nx, ny, nz = size
    inner = cells.reshape(nz, ny, nx)[:-1, :-1, :-1]
    padded = np.pad(inner, [(0, -(-(n - 1) // BLOCK) * BLOCK - (n - 1)) for n in (nz, ny, nx)])
    shape = [s // BLOCK for s in padded.shape]
    grouped = padded.reshape(shape[0], BLOCK, shape[1], BLOCK, shape[2], BLOCK)
    return np.ascontiguousarray(grouped.max(axis=(1, 3, 5)).reshape(-1))
