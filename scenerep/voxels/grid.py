"""A voxel scene in its working form: a dense grid of densities and SH, trained by the rays of photographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.errors import ConfigError
from scenerep.scenes import Voxels
from scenerep.voxels.pyramid import CHANNELS, STEP, Pyramid, Size
from scenerep.voxels.space import Space, space_of


@dataclass(frozen=True)
class Rates:
    """Learning rates of Adam for the raw density and for the SH coefficients or features."""

    density: float
    colour: float

    def channels(self) -> np.ndarray:
        """float32 [16]."""
        return np.array([self.density, *[self.colour] * (CHANNELS - 1)], np.float32)


@dataclass(frozen=True)
class Smoothing(Rates):
    """Weights of half the squared differences between touched vertices and their six neighbours (total variation)."""

    density: float = 0.0
    colour: float = 0.0


@dataclass(frozen=True)
class StepResult:
    """loss: Mean squared error over rays and channels. samples: Of all rays. touched: Vertices that were updated."""

    loss: float
    samples: int
    touched: int


@dataclass(frozen=True)
class Marched:
    """rgb [n, 3], alpha, depth, median_depth [n], float32; depths as in pyramid.Drawn."""

    rgb: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray
    median_depth: np.ndarray


class Grid:
    """Dense values of a space: raw density, then SH coefficients [k, 3], then padding."""

    wants_radii = False

    def __init__(self, space: Space, sh_degree: int = 1, step: float = STEP) -> None:
        if sh_degree not in (0, 1):
            raise ConfigError(f"voxels have SH of degree 0 or 1, not {sh_degree}")
        self._take(Pyramid(space, 1, 3, sh_degree, step))

    def _take(self, pyramid: Pyramid) -> None:
        self.pyramid = pyramid
        self.space, self.sh_degree, self.step = pyramid.space, pyramid.degree, pyramid.step

    @property
    def values(self) -> np.ndarray:
        """float32 [nx ny nz, 16]."""
        return self.pyramid.levels[0].values

    def __len__(self) -> int:
        return len(self.pyramid)

    def train_step(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        targets: np.ndarray,
        *,
        background: np.ndarray,
        rates: Rates,
        smoothing: Smoothing | None = None,
        sparsity: float = 0.0,
        seed: int = 0,
        open_all: bool = False,
    ) -> StepResult:
        """One step of Adam on the mean squared error of a batch of rays, on the vertices that they touch.

        Args:
            origins, directions: float32 [n, 3]; directions of length 1.
            targets: float32 [n, 3] in [0, 1].
            background: float32 [3] or [n, 3], behind everything.
            smoothing: Of what the rays touch.
            sparsity: Weight of the densities of what the rays touch.
            seed: Of the offset of the first sample of each ray.
            open_all: March through closed cells too, so that they can come back.
        """
        rgb, alpha, samples = self.pyramid.march(origins, directions, None, seed=seed, open_all=open_all)
        error = rgb + (1.0 - alpha)[:, None] * background - targets
        slope = error * np.float32(2.0 / (3 * len(origins)))
        d_alpha = -(slope * background).sum(axis=1, dtype=np.float32)
        touched = self.pyramid.learn(slope, d_alpha, rates.channels(), (smoothing or Smoothing()).channels(), sparsity)
        return StepResult(float(np.mean(error.astype(np.float64) ** 2)), samples, touched)

    def update_occupancy(self) -> None:
        """See Pyramid.update_occupancy."""
        self.pyramid.update_occupancy()

    def resized(self, size: Size) -> Grid:
        """The same field on a finer or coarser grid; see Pyramid.resized."""
        out = Grid.__new__(Grid)
        out._take(self.pyramid.resized(size))
        return out

    def render(
        self, origins: np.ndarray, directions: np.ndarray, background: np.ndarray, radii: np.ndarray | None = None
    ) -> Marched:
        """Rays [n, 3] through the cells that are not nearly empty; arguments as in `train_step`. radii: not needed."""
        drawn = self.pyramid.draw(origins, directions)
        rgb = drawn.features + (1.0 - drawn.alpha)[:, None] * background
        return Marched(rgb, drawn.alpha, drawn.depth, drawn.median_depth)

    # --- scenes and checkpoints

    def scene(self) -> Voxels:
        """What rendering needs of it: the vertices of cells that are not nearly empty."""
        index = np.flatnonzero(self.pyramid.levels[0].kept())
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
        grid.pyramid.levels[0].put(scene.index, scene.values)
        grid.pyramid.mark_dense()
        return grid

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(arrays, JSON values) that `from_state` makes the same grid of."""
        about = {
            "size": list(self.space.size),
            "box": self.space.box.tolist(),
            "contracted": self.space.contracted,
            "step": self.step,
            "sh_degree": self.sh_degree,
            "steps": self.pyramid.steps,
        }
        return self.pyramid.state(self._used), about

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> Grid:
        """The inverse of `state`."""
        space = Space(tuple(about["size"]), np.array(about["box"]), about["contracted"])
        grid = cls(space, about["sh_degree"], about["step"])
        grid.pyramid.load(arrays, about["steps"])
        return grid

    @property
    def _used(self) -> int:
        return 4 if self.sh_degree == 0 else 13
