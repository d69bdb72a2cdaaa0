"""The trainer of voxel scenes: `train(run, capture, config)` yields events and keeps the run's checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.captures import Capture
from scenerep.errors import ConfigError, DataError
from scenerep.evaluation import evaluate
from scenerep.events import Densified, Evaluated, Event, Saved, Step
from scenerep.runs import Run
from scenerep.saved_scenes import VOXELS
from scenerep.scenes import MipVoxels, Voxels
from scenerep.voxel_training.batches import RayBatch, RaySource
from scenerep.voxel_training.bounds import find_space
from scenerep.voxel_training.config import VoxelsConfig
from scenerep.voxel_training.schedule import Stage, rates_at, smoothing_at, stages
from scenerep.voxels.grid import Grid, StepResult

_LOG_EVERY = 50
_PAUSE_SECONDS = 1.0
_EVALUATE_SHARE = 0.1
_CLOCK_EVERY = 10
_OCCUPANCY_EVERY = 64  # steps
_OCCUPIED_FROM = 0.02  # share of the training before which nothing is skipped: a cell closed too early stays empty
_SMOOTH_EVERY = 4  # steps, of which one smooths four times as much: it costs as much as all else of an update
_REOPEN_EVERY = 16  # steps, of which one marches through closed cells too, so that they can come back
_REOPEN_UNTIL = 0.8


@dataclass
class _Position:
    """Where the training stands; saved and read back with the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    progress: float = 0.0
    stage: int = 0
    evaluated_at: float = 0.0


def train(run: Run, capture: Capture, config: VoxelsConfig) -> Iterator[Event]:
    """Trains until the budget of steps or minutes is used up; goes on from the run's newest checkpoint.

    Closing the generator saves a checkpoint. With `steps`, an interrupted and resumed training ends with the same bits
    as an uninterrupted one. `run.snapshot` gives the scene at any event.

    Raises:
        DataError: No training views.
        ConfigError: A budget or count that makes no sense.
    """
    check(capture, config)
    yield from VoxelTraining(run, capture, config).events()


def check(capture: Capture, config: VoxelsConfig) -> None:
    """Raises DataError without training views, ConfigError for numbers that make no sense."""
    if not capture.train:
        raise DataError(f"{capture.root}: no views to train on", "use a larger --test-every")
    positive = {
        "minutes": config.minutes,
        "steps": config.steps,
        "rays": config.rays,
        "patch": config.patch,
        "rates.density": config.rates.density,
        "rates.colour": config.rates.colour,
        "rates.fall": config.rates.fall,
    }
    for name, value in positive.items():
        if value is not None and not value > 0:  # nan too
            raise ConfigError(f"--{name} is {value}", "give a positive number")
    if config.resolution is not None and not 16 <= config.resolution <= 1024:
        raise ConfigError(f"--resolution is {config.resolution}", "give 16 to 1024 voxels a side")


class VoxelTraining:
    """One training. What depends on the kind of grid stands in the methods that a subclass overrides."""

    kind = VOXELS

    def __init__(self, run: Run, capture: Capture, config: VoxelsConfig) -> None:
        self.run, self.capture, self.config = run, capture, config
        self.rng = np.random.default_rng(run.seed)
        self.at = _Position()
        self.has_alpha = capture.image(capture.train[0]).shape[2] == 4
        self.background = self._background()
        bounded = config.space == "box" or (config.space == "auto" and self.has_alpha)
        self.space = find_space(capture, config.resolved_resolution(), bounded=bounded, multiple=self._multiple())
        self.stages: list[Stage] = stages(config, self.space)
        self.grid: Any = self._load_or_start()
        self.rays: Any = self._rays()
        run.snapshot = self._snapshot
        self.started = time.monotonic() - self.at.seconds
        self.saved_at = time.monotonic()
        self.saved_step = self.at.step
        self.count = len(self.grid)

    # --- start

    def _multiple(self) -> int:
        """Of which the cells along each side of the grid are one."""
        return 1

    def _start(self) -> Any:
        """The grid of the first stage."""
        return Grid(self.stages[0].space, self.config.sh_degree)

    def _load(self, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> Any:
        """The grid of a checkpoint."""
        return Grid.from_state(arrays, about)

    def _rays(self) -> Any:
        """Where batches come from."""
        return RaySource(self.capture, self.background, self.rng)

    def _learn(self, batch: RayBatch, options: dict[str, Any]) -> StepResult:
        """One step on a batch."""
        return self.grid.train_step(batch.origins, batch.directions, batch.targets, **options)

    def _load_or_start(self) -> Any:
        found = self.run.latest_checkpoint()
        if found is None:
            return self._start()
        self.at = _Position(**found.state["position"])
        self.rng.bit_generator.state = found.state["rng"]
        self.run.rewind(self.at.step)
        return self._load(found.arrays, found.state["grid"])

    def _background(self) -> np.ndarray | None:
        """The fixed colour behind the scene; None if it is drawn anew for each ray."""
        name = self.config.background
        if name == "auto":
            name = "white" if self.has_alpha else "black"
        return {"black": np.zeros(3, np.float32), "white": np.ones(3, np.float32), "random": None}[name]

    # --- the loop

    def events(self) -> Iterator[Event]:
        try:
            while self._progress() < 1.0:
                for event in self._step():
                    before = time.monotonic()
                    yield event
                    outside = time.monotonic() - before
                    if outside > _PAUSE_SECONDS:  # somebody paused the training: that is not training time
                        self.started += outside
        except GeneratorExit:
            self._save()
            raise
        if self.at.step > self.saved_step:
            yield self._save()
        yield from self._evaluate(full=True)

    def _progress(self) -> float:
        """Read off the clock every few steps only: what lies between is the same on every machine."""
        if self.config.steps is not None:
            self.at.progress = self.at.step / self.config.steps
        elif self.at.step % _CLOCK_EVERY == 0:
            minutes = self.config.resolved_minutes()
            assert minutes is not None
            self.at.progress = max(self.at.progress, self._seconds() / (60.0 * minutes))
        return self.at.progress

    def _seconds(self) -> float:
        return time.monotonic() - self.started

    def _step(self) -> Iterator[Event]:
        config, at = self.config, self.at
        yield from self._grow()
        if at.progress >= _OCCUPIED_FROM and at.step % _OCCUPANCY_EVERY == 0:
            self.grid.update_occupancy()
            self.count = len(self.grid)
        at.step += 1
        batch = self.rays.draw(config.rays, config.patch)
        options = {
            "background": batch.background,
            "rates": rates_at(config, at.progress),
            "smoothing": smoothing_at(config, _SMOOTH_EVERY) if at.step % _SMOOTH_EVERY == 0 else None,
            "sparsity": config.sparsity,
            "seed": self.run.seed * 1_000_003 + at.step,
            "open_all": at.progress < _REOPEN_UNTIL and at.step % _REOPEN_EVERY == 0,
        }
        result = self._learn(batch, options)
        if not np.isfinite(result.loss):
            raise DataError(
                f"the loss is {result.loss} at step {at.step}",
                "lower the learning rates; the last checkpoint is from before",
            )
        yield from self._report(result.loss)
        if time.monotonic() - self.saved_at > config.save_seconds:
            yield self._save()

    def _grow(self) -> Iterator[Event]:
        """To the resolution of this share of the training."""
        at = self.at
        while at.stage + 1 < len(self.stages) and at.progress >= self.stages[at.stage + 1].begin:
            at.stage += 1
            before = self.count
            self.grid = self.grid.resized(self.stages[at.stage].space.size)
            self.count = len(self.grid)
            yield Densified(at.step, before, self.count)

    def _report(self, loss: float) -> Iterator[Event]:
        at = self.at
        at.seconds = self._seconds()
        left = at.seconds * (1 - at.progress) / at.progress if at.progress > 0 else float("inf")
        if at.step % _LOG_EVERY == 0:
            self.run.log({"step": at.step, "loss": loss, "count": self.count, "seconds": round(at.seconds, 3)})
        yield Step(at.step, loss, self.count, at.seconds, at.progress, left)
        if at.progress - at.evaluated_at >= _EVALUATE_SHARE and at.progress < 1.0:
            at.evaluated_at = at.progress
            yield from self._evaluate(full=False)

    def _evaluate(self, *, full: bool) -> Iterator[Event]:
        """A few held-out views while training, all of them at the end."""
        if not self.capture.test:
            return
        views = self.capture.test if full else self.capture.test[:: max(1, len(self.capture.test) // 2)][:2]
        colour = None
        if self.background is not None:
            r, g, b = self.background.tolist()
            colour = (r, g, b)
        scene = self._snapshot() if full else self.grid
        found = evaluate(scene, self.capture, views, background=colour, basic=True)
        at = self.at
        self.run.log(
            {
                "step": at.step,
                "psnr": found.psnr,
                "ssim": found.ssim,
                "views": len(views),
                "count": len(scene),
                "seconds": round(at.seconds, 3),
            }
        )
        yield Evaluated(at.step, found.psnr, found.ssim, len(views))

    # --- saving

    def _snapshot(self) -> Voxels | MipVoxels:
        return self.grid.scene()

    def _save(self) -> Saved:
        arrays, grid = self.grid.state()
        state: dict[str, Any] = {
            "kind": self.kind,
            "grid": grid,
            "position": vars(self.at).copy(),
            "rng": self.rng.bit_generator.state,
            "seconds": self.at.seconds,
            "background": None if self.background is None else self.background.tolist(),
        }
        path = self.run.save_checkpoint(self.at.step, arrays, state)
        self.saved_at, self.saved_step = time.monotonic(), self.at.step
        return Saved(self.at.step, path)
