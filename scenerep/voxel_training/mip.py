"""The trainer of mip-voxel scenes: the voxel trainer with a pyramid, a network, and pictures of several sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from scenerep.captures import Capture
from scenerep.errors import ConfigError
from scenerep.events import Event
from scenerep.runs import Run
from scenerep.saved_scenes import MIP_VOXELS
from scenerep.voxel_training.batches import MultiscaleRays, RayBatch
from scenerep.voxel_training.config import MipVoxelsConfig
from scenerep.voxel_training.schedule import halvings_of
from scenerep.voxel_training.train import VoxelTraining, check
from scenerep.voxels.grid import StepResult
from scenerep.voxels.mip_grid import MipGrid

_FINEST = 0.55  # share of a batch's rays that go to the pictures at full size; each halving gets half of the rest


def train(run: Run, capture: Capture, config: MipVoxelsConfig) -> Iterator[Event]:
    """As voxel_training.train.train."""
    check(capture, config)
    if not 1 <= config.levels <= 6 or not 1 <= config.scales <= 6:
        raise ConfigError(f"--levels {config.levels} and --scales {config.scales}", "give 1 to 6 of each")
    if not config.network_rate > 0:
        raise ConfigError(f"--network-rate is {config.network_rate}", "give a positive number")
    yield from _MipTraining(run, capture, config).events()


class _MipTraining(VoxelTraining):
    kind = MIP_VOXELS
    config: MipVoxelsConfig

    def _multiple(self) -> int:
        return 1 << (self.config.levels - 1 + halvings_of(self.config.resolved_resolution()))

    def _start(self) -> MipGrid:
        return MipGrid(self.stages[0].space, self.config.levels, np.random.default_rng([self.run.seed, 1]))

    def _load(self, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> MipGrid:
        return MipGrid.from_state(arrays, about)

    def _rays(self) -> MultiscaleRays:
        return MultiscaleRays(self.capture, self.background, self.rng, scale_shares(self.config.scales))

    def _learn(self, batch: RayBatch, options: dict[str, Any]) -> StepResult:
        rate = self.config.network_rate * self.config.rates.fall**self.at.progress
        return self.grid.train_step(
            batch.origins, batch.directions, batch.targets, radii=batch.radii, network_rate=rate, **options
        )


def scale_shares(scales: int) -> tuple[float, ...]:
    """Shares of a batch's rays for pictures at 1, 1/2, 1/4, ... of their size; they sum to 1."""
    shares = [_FINEST if scales > 1 else 1.0]
    while len(shares) < scales:
        left = 1.0 - sum(shares)
        shares.append(left if len(shares) == scales - 1 else left / 2)
    return tuple(shares)
