"""`compress rdo` for voxel fields: vertices, steps and coefficients under one lambda.

The distortion is the expected squared error of the rays' colours, by the curvature of each value (importance.py). For a
lambda, in squared error per bit: vertices are left out where that costs less than the bits of a vertex; the step of a
group follows from dD/dR = -lambda of a uniform quantiser, step^2 = 6 lambda / (ln 2 H), with H the mean curvature of
its values, weighted by itself; and coefficients are left out where that costs less than their bits
(coding/haar_tree.py). A goal of size or loss is found by bisection of lambda.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scenerep.coding.kinds import decode_file
from scenerep.coding.voxels import GROUPS, Importance, VoxelSteps, columns, encode_mip_voxels, encode_voxels
from scenerep.compress.base import Goal
from scenerep.compress.views import Views
from scenerep.compress.voxels.importance import importance
from scenerep.errors import ConfigError
from scenerep.events import Compressed, Encoded, Event
from scenerep.scenes import MipVoxels, Voxels

LOSSES = {"low": 1.0, "medium": 0.3, "high": 0.1, "near-lossless": 0.02}
"""dB that a preset may lose."""
_VERTEX_BITS = 10.0
_SIZE_TOLERANCE = 0.02
_TRIALS = 18
_LEAST_LAMBDA, _LARGEST_LAMBDA = 1e-15, 1e-3  # squared error of a ray per bit, for each ray
_VIEWS = 12
_PER_LAMBDA = 1e6 * 255**2 / 3
"""Goal.lambda_ is the rise of the mean squared error (of values 0 to 255) that a million bits are worth."""


@dataclass(frozen=True)
class VoxelJob:
    """A field to be compressed; as base.Job."""

    scene: Voxels | MipVoxels
    views: Views
    goal: Goal
    held_out: Views | None
    seed: int
    metadata: dict[str, Any]


def compress_voxels(job: VoxelJob) -> Iterator[Event]:
    """Yields the sizes of what was tried, and at the end a `Compressed`."""
    found, rays = importance(job.scene, job.views, np.random.default_rng(job.seed))
    state = _State(job, found, rays)
    yield from state.search()


class _State:
    def __init__(self, job: VoxelJob, found: tuple[Importance, ...], rays: int) -> None:
        self.job, self.importance, self.rays = job, found, rays
        self.views = job.held_out or job.views
        self.numbers = self.views.some(_VIEWS)
        self.tried = 0
        self.report: dict[str, Any] = {}

    def search(self) -> Iterator[Event]:
        goal = self.job.goal
        if goal.lambda_ is not None:
            data = self.encode(goal.lambda_ * self.rays / _PER_LAMBDA)
            yield Compressed(data, self.report)
            return
        if goal.size is not None:
            size = goal.size
            good = yield from self._bisect(lambda data: len(data) - size, size * _SIZE_TOLERANCE)
        else:
            allowed = LOSSES[goal.quality] if goal.quality is not None else goal.loss
            assert allowed is not None
            before = self.views.psnr(self.job.scene, self.numbers)
            good = yield from self._bisect(
                lambda data: allowed - (before - self.views.psnr(decode_file(data).scene, self.numbers)), 0.05 * allowed
            )
        yield Compressed(good, self.report)

    def _bisect(self, excess: Any, tolerance: float) -> Iterator[Any]:
        """The file of the lambda at which `excess` (which falls with lambda) is just at or below zero for a size, and
        just at or above it for a loss; `excess` of a size is in bytes, of a loss in dB to spare.

        Raises:
            ConfigError: none is.
        """
        is_size = self.job.goal.size is not None
        low, high = _LEAST_LAMBDA * self.rays, _LARGEST_LAMBDA * self.rays
        best: bytes | None = None
        best_report: dict[str, Any] = {}
        for _ in range(_TRIALS):
            middle = math.sqrt(low * high)
            data = self.encode(middle)
            left = float(excess(data))
            yield Encoded(self.tried, len(data), self.report["count"])
            fits = left <= 0 if is_size else left >= 0
            # The smallest lambda that is small enough for a size, the largest that is good enough for a loss.
            if fits:
                best, best_report = data, self.report
            if fits and abs(left) <= tolerance:
                break
            if fits == is_size:
                high = middle
            else:
                low = middle
        if best is None:
            nearest = len(self.encode(high if is_size else low))
            raise ConfigError(f"the goal cannot be reached: the nearest file has {nearest:,} bytes", "ask for less")
        self.report = best_report
        return best

    def encode(self, lam: float) -> bytes:
        """The file for a lambda in squared error of all rays' colours per bit."""
        self.tried += 1
        scene, found = _without(self.job.scene, self.importance, lam)
        steps = _steps(found, lam)
        if isinstance(scene, Voxels):
            data = encode_voxels(scene, steps, found[0], lam, self.job.metadata)
        else:
            data = encode_mip_voxels(scene, steps, found, lam, self.job.metadata)
        self.report = {
            "method": "rdo",
            "count": len(scene),
            "lambda": lam / self.rays * _PER_LAMBDA,
            "steps": steps.by_group(),
            "tried": self.tried,
        }
        return data


def _steps(found: tuple[Importance, ...], lam: float) -> VoxelSteps:
    steps = {}
    for group in GROUPS:
        h = np.concatenate([getattr(level, group) for level in found])
        curvature = float((h * h).sum() / h.sum()) if len(h) else 1.0
        steps[group] = float(np.clip(math.sqrt(6 * lam / (math.log(2) * max(curvature, 1e-12))), 2.0**-12, 16.0))
    return VoxelSteps(**steps)


def _without(
    scene: Voxels | MipVoxels, found: tuple[Importance, ...], lam: float
) -> tuple[Voxels | MipVoxels, tuple[Importance, ...]]:
    """The scene without the vertices whose removal (to zeros, which are nearly empty) costs less than their bits."""
    indices = (scene.index,) if isinstance(scene, Voxels) else scene.indices
    values = (scene.values,) if isinstance(scene, Voxels) else scene.values
    kept, left = [], []
    for rows, level in zip(values, found, strict=True):
        cost = np.zeros(len(rows))
        for group, part in columns(rows.shape[1]).items():
            cost += getattr(level, group) * (rows[:, part].astype(np.float64) ** 2).sum(axis=1)
        keep = cost > lam * _VERTEX_BITS
        kept.append(keep)
        left.append(Importance(*(getattr(level, group)[keep] for group in GROUPS)))
    if isinstance(scene, Voxels):
        return replace(scene, index=indices[0][kept[0]], values=values[0][kept[0]]), tuple(left)
    return replace(
        scene,
        indices=tuple(index[keep] for index, keep in zip(indices, kept, strict=True)),
        values=tuple(rows[keep] for rows, keep in zip(values, kept, strict=True)),
    ), tuple(left)
