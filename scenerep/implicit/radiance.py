"""Radiance fields as coordinate networks: a place in, a raw density and SH of degree 1 out, as of a vertex of Voxels.

Rays are sampled by the native march (voxels/autograd.py) where a coarse grid says that something may be, the network
is asked at the samples, and their colours are composited in torch. For pictures the field is baked into a grid.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor

from scenerep.captures import Capture
from scenerep.errors import DataError
from scenerep.evaluation import evaluate
from scenerep.events import Evaluated
from scenerep.implicit.bake import bake, network_places
from scenerep.implicit.evaluate import field_values
from scenerep.implicit.networks import Field
from scenerep.scenes import RADIANCE, NeuralField
from scenerep.voxel_training.batches import RaySource
from scenerep.voxel_training.bounds import find_space
from scenerep.voxels.autograd import Occupancy, composite, sample_rays
from scenerep.voxels.pyramid import blocks_of
from scenerep.voxels.reference import colours, density
from scenerep.voxels.space import OPTICAL, Space, activated

_COARSE = 0.3  # cells of the grid that tells where something may be, along a side, for one of the march
_COARSE_EVERY = 64  # steps
_COARSE_FROM = 128
_KEEP = 0.95  # of what a cell was known to hold, when it is looked at again
_LEAST = 5e-3  # opacity of a voxel
_SAMPLES = 4  # samples of rays in a step for each value that --batch asks for
_START_SAMPLES = 200.0  # on a ray, before it is known


class RadianceSubject:
    """A capture to be learned; see subjects.Subject."""

    name = RADIANCE
    inputs, outputs = 3, 13
    finest = 512
    squares = True

    def __init__(self, capture: Capture, resolution: int = 160) -> None:
        """resolution: Of the grid that the field is drawn from, voxels along a side; it sets the samples' distance."""
        if not capture.train:
            raise DataError(f"{capture.root}: no views to train on", "use a larger --test-every")
        self.capture = capture
        self.warnings: list[str] = []
        has_alpha = capture.image(capture.train[0]).shape[2] == 4
        self.background = np.ones(3, np.float32) if has_alpha else np.zeros(3, np.float32)
        self.space = find_space(capture, resolution, bounded=has_alpha)
        self._coarse = np.full(_coarse_size(self.space), np.inf, np.float32)  # density, the largest seen of late
        self._occupancy: Occupancy = None
        self._rays: RaySource | None = None
        self._per_ray = _START_SAMPLES

    def prepare(self, seed: int) -> None:
        """Reads the pictures."""

    def scene(self, field: Field) -> NeuralField:
        box, march, contracted = self.space.box, self.space.size, self.space.contracted
        return NeuralField(field.shape, field.weights(), RADIANCE, box, {}, march, contracted)

    def residuals(self, field: Field, rng: np.random.Generator, count: int) -> Tensor:
        """Of the colours of rays, in the units of a picture's network: 2 is white against black."""
        if self._rays is None:
            self._rays = RaySource(self.capture, self.background, rng)
        batch = self._rays.draw(max(16, int(_SAMPLES * count / self._per_ray)))
        rgb, alpha = self._march(field, batch.origins, batch.directions, int(rng.integers(1 << 31)))
        seen = rgb + (1 - alpha)[:, None] * torch.from_numpy(batch.background)
        return 2 * (seen - torch.from_numpy(batch.targets))

    def _march(self, field: Field, origins: np.ndarray, directions: np.ndarray, seed: int) -> tuple[Tensor, Tensor]:
        o, d = torch.from_numpy(origins), torch.from_numpy(directions)
        samples = sample_rays(self.space, o, d, seed=seed, occupancy=self._occupancy)
        self._per_ray = max(1.0, 0.9 * self._per_ray + 0.1 * len(samples.t) / len(origins))
        places = network_places(self.space, (o[samples.ray] + samples.t[:, None] * d[samples.ray]).numpy())
        values = field(torch.from_numpy(places))
        return composite(samples, density(values[:, 0]), colours(values[:, 1:], d[samples.ray]))

    def advance(self, field: Field, step: int, rng: np.random.Generator) -> None:
        """Looks now and then where something may be: a place in each coarse cell, drawn at random."""
        if step < _COARSE_FROM or step % _COARSE_EVERY:
            return
        size = np.array(self._coarse.shape[::-1])
        index = np.stack(np.meshgrid(*(np.arange(n) for n in self._coarse.shape), indexing="ij")[::-1], axis=-1)
        places = (index.reshape(-1, 3) + rng.random((self._coarse.size, 3))) / size * 2 - 1
        found = activated(field_values(field, places.astype(np.float32))[:, 0]).reshape(self._coarse.shape)
        known = np.where(np.isfinite(self._coarse), self._coarse * _KEEP, 0)
        self._coarse = np.maximum(known, found).astype(np.float32)
        self._occupy()

    def _occupy(self) -> None:
        """The cells of the march that lie in coarse cells, or beside some, where something may be."""
        if not np.isfinite(self._coarse).any():
            return
        least = -np.log1p(-_LEAST) / (OPTICAL * self.space.inner_voxel)
        near = binary_dilation(self._coarse >= least, np.ones((3, 3, 3)))
        nx, ny, nz = self.space.size
        rows = [
            np.minimum((np.arange(n) * m) // max(n - 1, 1), m - 1)
            for n, m in zip((nz, ny, nx), near.shape, strict=True)
        ]
        cells = np.ascontiguousarray(near[np.ix_(*rows)].reshape(-1), np.uint8)
        self._occupancy = cells, blocks_of(cells, self.space.size)

    def state(self) -> dict[str, np.ndarray]:
        return {"coarse": self._coarse, "per_ray": np.array([self._per_ray])}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        self._coarse, self._per_ray = arrays["coarse"], float(arrays["per_ray"][0])
        self._occupy()

    def measure(self, field: Field, step: int, *, full: bool) -> Evaluated:
        """PSNR and SSIM of the baked field on the held-out views; on two of them while it trains."""
        views = self.capture.test or self.capture.train[:1]
        views = views if full else views[:: max(1, len(views) // 2)][:2]
        r, g, b = self.background.tolist()
        found = evaluate(bake(self.scene(field)), self.capture, views, background=(r, g, b), basic=True)
        return Evaluated(step, found.psnr, found.ssim, len(views))


def _coarse_size(space: Space) -> tuple[int, int, int]:
    """(nz, ny, nx)."""
    nx, ny, nz = (max(2, round(_COARSE * n)) for n in space.size)
    return nz, ny, nx
