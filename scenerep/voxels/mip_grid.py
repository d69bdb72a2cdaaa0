"""A mip-voxel scene in its working form: a pyramid of densities and features, shaded pixel by pixel.

After Mip-VoG (Hu et al., ICCV 2023). A sample is taken from the two levels of the pyramid between which its pixel's
width lies (quadrilinear interpolation), so that distant and reduced views see what their pixels average over.
Deviations: the levels are trained on their own by the rays of reduced pictures, where the paper filters level 0 anew in
every step; the level applies to density and features alike (as in the paper's text; its code filters features only);
the loss is the squared error alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scenerep.scenes import MipVoxels
from scenerep.voxels.grid import Marched, Rates, Smoothing, StepResult
from scenerep.voxels.pyramid import STEP, Pyramid, Size
from scenerep.voxels.shading import FEATURES, NAMES, ShadingOptimiser, shade, shade_backward, start
from scenerep.voxels.space import Space

USED = 1 + FEATURES


class MipGrid:
    """Levels of raw density and seven features a vertex, and the network that shades."""

    wants_radii = True

    def __init__(self, space: Space, levels: int, rng: np.random.Generator | None = None, step: float = STEP) -> None:
        weights = start(rng or np.random.default_rng(0))
        self._take(Pyramid(space, levels, FEATURES, -1, step), ShadingOptimiser(weights))

    def _take(self, pyramid: Pyramid, optimiser: ShadingOptimiser) -> None:
        self.pyramid, self.optimiser = pyramid, optimiser
        self.space, self.step = pyramid.space, pyramid.step

    def __len__(self) -> int:
        return len(self.pyramid)

    def train_step(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        targets: np.ndarray,
        *,
        radii: np.ndarray,
        background: np.ndarray,
        rates: Rates,
        network_rate: float,
        smoothing: Smoothing | None = None,
        sparsity: float = 0.0,
        seed: int = 0,
        open_all: bool = False,
    ) -> StepResult:
        """One step of Adam on the mean squared error of a batch of rays; see Grid.train_step.

        Args:
            radii: float32 [n], half a pixel's width at distance 1.
            network_rate: Learning rate of the network.
        """
        features, alpha, samples = self.pyramid.march(origins, directions, radii, seed=seed, open_all=open_all)
        shaded = shade(self.optimiser.weights, features, alpha, directions)
        error = shaded.rgb + (1.0 - alpha)[:, None] * background - targets
        slope = error * np.float32(2.0 / (3 * len(origins)))
        d_features, d_alpha, slopes = shade_backward(self.optimiser.weights, shaded, slope)
        d_alpha = d_alpha - (slope * background).sum(axis=1, dtype=np.float32)
        touched = self.pyramid.learn(
            d_features, d_alpha, rates.channels(), (smoothing or Smoothing()).channels(), sparsity
        )
        self.optimiser.step(slopes, network_rate)
        return StepResult(float(np.mean(error.astype(np.float64) ** 2)), samples, touched)

    def update_occupancy(self) -> None:
        """See Pyramid.update_occupancy."""
        self.pyramid.update_occupancy()

    def resized(self, size: Size) -> MipGrid:
        """The same field with another level 0; see Pyramid.resized."""
        out = MipGrid.__new__(MipGrid)
        out._take(self.pyramid.resized(size), self.optimiser)
        return out

    def render(
        self, origins: np.ndarray, directions: np.ndarray, background: np.ndarray, radii: np.ndarray | None = None
    ) -> Marched:
        """Rays [n, 3] of pixels with half widths [n] at distance 1; None: as if they were infinitely small."""
        drawn = self.pyramid.draw(origins, directions, radii)
        rgb = shade(self.optimiser.weights, drawn.features, drawn.alpha, directions).rgb
        rgb += (1.0 - drawn.alpha)[:, None] * background
        return Marched(rgb.astype(np.float32), drawn.alpha, drawn.depth, drawn.median_depth)

    # --- scenes and checkpoints

    def scene(self) -> MipVoxels:
        """What rendering needs of it: the vertices of cells that are not nearly empty."""
        kept = [np.flatnonzero(level.kept()) for level in self.pyramid.levels]
        return MipVoxels(
            size=self.space.size,
            indices=tuple(kept),
            values=tuple(
                level.values[index, :USED].copy() for level, index in zip(self.pyramid.levels, kept, strict=True)
            ),
            network={name: w.copy() for name, w in self.optimiser.weights.items()},
            box=self.space.box,
            contracted=self.space.contracted,
            step=self.step,
        )

    @classmethod
    def from_scene(cls, scene: MipVoxels) -> MipGrid:
        """A grid to render from."""
        grid = cls(Space(scene.size, scene.box, scene.contracted), len(scene.indices), step=scene.step)
        for level, index, values in zip(grid.pyramid.levels, scene.indices, scene.values, strict=True):
            level.put(index, values)
        grid.pyramid.mark_dense()
        grid.optimiser = ShadingOptimiser({name: scene.network[name].copy() for name in NAMES})
        return grid

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(arrays, JSON values) that `from_state` makes the same grid of."""
        about = {
            "size": list(self.space.size),
            "levels": len(self.pyramid.levels),
            "box": self.space.box.tolist(),
            "contracted": self.space.contracted,
            "step": self.step,
            "steps": self.pyramid.steps,
            "network_steps": self.optimiser.steps,
        }
        network = {f"mlp_{name}": w for name, w in self.optimiser.weights.items()}
        return self.pyramid.state(USED) | network | self.optimiser.state(), about

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> MipGrid:
        """The inverse of `state`."""
        space = Space(tuple(about["size"]), np.array(about["box"]), about["contracted"])
        grid = cls(space, about["levels"], step=about["step"])
        grid.pyramid.load(arrays, about["steps"])
        grid.optimiser = ShadingOptimiser({name: arrays[f"mlp_{name}"].copy() for name in NAMES})
        grid.optimiser.load(arrays, about["network_steps"])
        return grid
