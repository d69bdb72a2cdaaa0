"""Surfaces as coordinate networks: places in, signed distance out, negative inside. Distances by open3d.

Units: half the longest side of the mesh's box is 1 - _MARGIN, so that all of it lies in [-1, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from scenerep.errors import DataError
from scenerep.events import Scored
from scenerep.implicit.evaluate import field_values
from scenerep.implicit.extract import sample_surface, zero_level
from scenerep.implicit.networks import Field
from scenerep.implicit.subjects import Still
from scenerep.scenes import SURFACE, NeuralField, unit_places

if TYPE_CHECKING:
    import trimesh

_MARGIN = 0.1
_POOL = 1_000_000
_NEAR, _FAR = 0.6, 0.2  # shares of the pool: close to the surface, around it; the rest lies anywhere
_NEAR_SPREAD, _FAR_SPREAD = 0.01, 0.05
_FLOOR = 0.01  # an error counts relative to the distance plus this
_SAMPLES = 100_000
_TOLERANCE = 0.01  # of half the longest side
_COARSE, _FINE = 96, 256


class SurfaceSubject(Still):
    """A mesh to be learned; see subjects.Subject."""

    name = SURFACE
    inputs, outputs = 3, 1
    squares = False
    finest = 256

    def __init__(self, mesh: trimesh.Trimesh, file: str = "<mesh>") -> None:
        vertices = np.asarray(mesh.vertices, np.float64)
        if len(mesh.faces) == 0 or not np.isfinite(vertices).all():
            raise DataError(f"{file}: the mesh has no triangles, or vertices that are not finite", "repair it first")
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        half = float((high - low).max()) / 2
        if half <= 0:
            raise DataError(f"{file}: all vertices of the mesh lie in one place", "choose another mesh")
        self.box = np.stack([low, high]) + half * _MARGIN / (1 - _MARGIN) * np.array([[-1.0], [1.0]])
        self.warnings = []
        if not mesh.is_watertight:
            self.warnings.append(
                f"{file} is not watertight: what is inside is decided by the majority of rays, "
                "and holes may be closed or torn"
            )
        self.vertices = unit_places(vertices, self.box)
        self.faces = np.asarray(mesh.faces, np.uint32)
        self._places = np.empty((0, 3), np.float32)
        self._distances = np.empty((0, 1), np.float32)
        self._sampled = np.empty((0, 3), np.float32)

    def prepare(self, seed: int) -> None:
        """Draws the pool of points and measures their distances."""
        import open3d as o3d

        rng = np.random.default_rng(seed)
        near, far = int(_NEAR * _POOL), int(_FAR * _POOL)
        on = sample_surface(self.vertices, self.faces, near + far, rng)
        spread = np.repeat([_NEAR_SPREAD, _FAR_SPREAD], [near, far]).astype(np.float32)[:, None]
        around = on + rng.normal(0, 1, on.shape).astype(np.float32) * spread
        anywhere = rng.uniform(-1, 1, (_POOL - near - far, 3)).astype(np.float32)
        places = np.clip(np.concatenate([around, anywhere]), -1, 1)
        tensor: Any = o3d.core.Tensor  # its constructor takes arrays, which its type stubs do not know
        casting: Any = o3d.t.geometry.RaycastingScene()
        casting.add_triangles(tensor(self.vertices), tensor(self.faces))
        distances = casting.compute_signed_distance(tensor(places), nsamples=5).numpy()
        self._places, self._distances = places, distances.astype(np.float32)[:, None]
        self._sampled = sample_surface(self.vertices, self.faces, _SAMPLES, np.random.default_rng(0))

    def scene(self, field: Field) -> NeuralField:
        return NeuralField(field.shape, field.weights(), SURFACE, self.box)

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(places float32 [n, 3], their distances float32 [n, 1]) out of the pool."""
        rows = rng.integers(0, len(self._places), count)
        return self._places[rows], self._distances[rows]

    def residuals(self, field: Field, rng: np.random.Generator, count: int) -> Tensor:
        """Relative errors of distances, as for the SDFs of Instant NGP."""
        places, distances = self.draw(rng, count)
        weights = torch.from_numpy(1 / (np.abs(distances) + _FLOOR))
        return (field(torch.from_numpy(places)) - torch.from_numpy(distances)) * weights

    def measure(self, field: Field, step: int, *, full: bool) -> Scored:
        """F-score and mean distance, by 100,000 points on the mesh and on the network's zero level."""
        if len(self._sampled) == 0:
            self._sampled = sample_surface(self.vertices, self.faces, _SAMPLES, np.random.default_rng(0))
        box = unit_places(self.box, self.box)
        vertices, faces = zero_level(lambda x: field_values(field, x)[:, 0], box, _FINE if full else _COARSE)
        f_score, distance = agreement(self._sampled, vertices, faces)
        return Scored(step, f_score, distance)


def agreement(truth: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> tuple[float, float]:
    """(F-score, mean distance) of a mesh to points on the true surface, in the units of [-1, 1].

    F-score (Knapitsch et al., SIGGRAPH 2017): harmonic mean of the shares of points, on either, that have a point of
    the other within 1 % of half the longest side of the box.
    """
    if len(faces) == 0:
        return 0.0, 2.0
    found = sample_surface(vertices.astype(np.float32), faces, len(truth), np.random.default_rng(1))
    there, _ = KDTree(truth).query(found, workers=-1)
    back, _ = KDTree(found).query(truth, workers=-1)
    precision, recall = float((there < _TOLERANCE).mean()), float((back < _TOLERANCE).mean())
    f_score = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return f_score, float((there.mean() + back.mean()) / 2)
