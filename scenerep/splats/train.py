"""The trainer: `train(run, capture, config)` yields events and keeps the run's checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scenerep.captures import Capture
from scenerep.errors import ConfigError, DataError
from scenerep.evaluation import evaluate
from scenerep.events import Densified, Evaluated, Event, Saved, Step
from scenerep.runs import Run
from scenerep.splats.config import SplatsConfig
from scenerep.splats.corrections import Exposures, Poses
from scenerep.splats.densify import make_strategy
from scenerep.splats.engine import Engine, NativeEngine, StepInput
from scenerep.splats.initialise import initial_gaussians
from scenerep.splats.model import NAMES, Model
from scenerep.splats.schedule import level_at, level_count, rates_at, sh_degree_at
from scenerep.splats.targets import Targets

_LOG_EVERY = 50
_PAUSE_SECONDS = 1.0
_EVALUATE_SHARE = 0.05
_CLOCK_EVERY = 10
_AHEAD = 2  # pictures
_NOISE_EVERY = 4  # steps of the random walk taken at once, as one of twice the length: the same walk, at less cost
_REFINE_FROM = 100  # steps: before that the screen gradients say little


@dataclass
class _Position:
    """Where the training stands; saved and read back with the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    progress: float = 0.0
    refined_at: float = 0.0
    evaluated_at: float = 0.0
    order: list[int] = field(default_factory=list)  # views still to come in this epoch


def train(run: Run, capture: Capture, config: SplatsConfig) -> Iterator[Event]:
    """Trains until the budget of steps or minutes is used up; goes on from the run's newest checkpoint.

    Closing the generator saves a checkpoint. With `steps`, an interrupted and resumed training ends with the same bits
    as an uninterrupted one. `run.snapshot` gives the scene at any event.

    Raises:
        DataError: No training views, or no points to start from.
        ConfigError: A budget or count that makes no sense.
    """
    _check(capture, config)
    yield from _Training(run, capture, config).events()


def _check(capture: Capture, config: SplatsConfig) -> None:
    if not capture.train:
        raise DataError(f"{capture.root}: no views to train on", "use a larger --test-every")
    positive = {
        "minutes": config.minutes,
        "steps": config.steps,
        "max-gaussians": config.max_gaussians,
        "init.points": config.init.points,
        "init.scale": config.init.scale,
        "densify.every": config.densify.every,
    }
    for name, value in positive.items():
        if value is not None and not value > 0:  # nan too
            raise ConfigError(f"--{name} is {value}", "give a positive number")
    if not 0 < config.init.opacity < 1:
        raise ConfigError(f"--init.opacity is {config.init.opacity}", "give a number between 0 and 1")


class _Training:
    def __init__(self, run: Run, capture: Capture, config: SplatsConfig) -> None:
        self.run, self.capture, self.config = run, capture, config
        self.rng = np.random.default_rng(run.seed)
        self.at = _Position()
        self.scene_scale = capture.scene_scale
        self.exposures = Exposures(len(capture)) if config.exposure else None
        self.poses = None
        if config.pose:
            cameras = [capture.camera(i) for i in range(len(capture))]
            self.poses = Poses(cameras, capture.train, self.scene_scale)
        self.model = self._load_or_start()
        first = capture.image(capture.train[0])
        self.has_alpha = first.shape[2] == 4
        self.background = self._background()
        self.targets = Targets(capture, self.background)
        self.levels = level_count(config, first.shape[0] * first.shape[1])
        self.strategy = make_strategy(config, self.initial_count, self.scene_scale)
        self.engine = self._engine()
        run.snapshot = self._snapshot
        self.started = time.monotonic() - self.at.seconds
        self.saved_at = time.monotonic()
        self.saved_step = self.at.step

    # --- start

    def _load_or_start(self) -> Model:
        found = self.run.latest_checkpoint()
        budget = self.config.resolved_max_gaussians()
        if found is None:
            if self.capture.points is None:
                raise DataError(
                    f"{self.capture.root}: the capture has no points to start from",
                    "points are triangulated by `scenerep train`; give them with Capture.with_points",
                )
            scene = initial_gaussians(
                self.capture.points, self.config.init, self.config.sh_degree, self.scene_scale, budget, self.rng
            )
            self.initial_count = len(scene)
            return Model(scene, budget)
        state = found.state
        self.at = _Position(**state["position"])
        self.initial_count = state["initial_count"]
        self.rng.bit_generator.state = state["rng"]
        for part in (self.exposures, self.poses):
            if part is not None:
                part.load(found.arrays)
        self.run.rewind(self.at.step)
        return Model.from_state(found.arrays, budget)

    def _background(self) -> np.ndarray | None:
        """The fixed colour behind the scene; None if it is drawn anew at each step."""
        name = self.config.background
        if name == "auto":
            name = "white" if self.has_alpha else "black"
        return {"black": np.zeros(3, np.float32), "white": np.ones(3, np.float32), "random": None}[name]

    def _engine(self) -> Engine:
        device = self.config.device
        if device == "auto":
            device = "cuda" if _cuda_is_there() else "cpu"
        if device == "cuda":
            from scenerep.splats.engine_torch import TorchEngine

            return TorchEngine(self.model, self.config, self.run.seed, "cuda")
        return NativeEngine(self.model, self.config, self.run.seed)

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
        progress = at.progress
        if not at.order:
            at.order = [int(v) for v in self.rng.permutation(self.capture.train)]
        view = at.order.pop()
        background = self.background if self.background is not None else self.rng.random(3).astype(np.float32)
        level = level_at(self.levels, progress)
        target = self.targets.get(view, level, background)
        self.targets.prefetch(at.order[-_AHEAD:], level)  # read while this step computes
        camera = target.camera if self.poses is None else self.poses.camera(view, target.camera)
        rates = rates_at(config, progress, self.scene_scale)
        regularise = progress < config.loss.regularise_until
        refining = progress < config.densify.refine_until
        at.step += 1
        given = StepInput(
            step=at.step,
            target=target,
            camera=camera,
            background=background,
            sh_degree=sh_degree_at(config, progress),
            rates=rates,
            opacity_weight=config.loss.opacity if regularise else 0.0,
            scale_weight=config.loss.scale / self.scene_scale if regularise else 0.0,
            depth_weight=config.loss.depth / self.scene_scale,
            noise=self._noise(rates.means) if refining and at.step % _NOISE_EVERY == 0 else 0.0,
            statistics=refining,
            exposure=None if self.exposures is None else self.exposures.matrix(view),
            want_pose=self.poses is not None,
        )
        result = self.engine.step(given)
        if not np.isfinite(result.loss):
            raise DataError(
                f"the loss is {result.loss} at step {at.step}, view {self.capture.views[view].name}",
                "lower the learning rates, or look at that picture; the last checkpoint is from before",
            )
        if self.exposures is not None and result.exposure is not None:
            self.exposures.update(view, result.exposure, progress)
        if self.poses is not None and result.pose is not None:
            self.poses.update(view, result.pose, camera, progress)

        if refining and at.step % config.densify.every == 0 and at.step >= _REFINE_FROM:
            yield from self._refine()
        yield from self._report(result.loss)
        if time.monotonic() - self.saved_at > config.save_seconds:
            yield self._save()

    def _noise(self, rate: float) -> float:
        return self.config.densify.noise * rate / self.scene_scale**2 * _NOISE_EVERY**0.5

    def _refine(self) -> Iterator[Event]:
        before = self.model.count
        self.engine.synchronise()
        self.strategy.refine(self.model, self.at.progress, self.at.refined_at, self.rng)
        self.engine.reload()
        self.at.refined_at = self.at.progress
        if self.model.count != before:
            yield Densified(self.at.step, before, self.model.count)

    def _report(self, loss: float) -> Iterator[Event]:
        at = self.at
        at.seconds = self._seconds()
        left = at.seconds * (1 - at.progress) / at.progress if at.progress > 0 else float("inf")
        if at.step % _LOG_EVERY == 0:
            self.run.log({"step": at.step, "loss": loss, "count": self.model.count, "seconds": round(at.seconds, 3)})
        yield Step(at.step, loss, self.model.count, at.seconds, at.progress, left)
        if at.progress - at.evaluated_at >= _EVALUATE_SHARE and at.progress < 1.0:
            at.evaluated_at = at.progress
            yield from self._evaluate(full=False)

    def _evaluate(self, *, full: bool) -> Iterator[Event]:
        """A few held-out views while training, all of them at the end."""
        if not self.capture.test:
            return
        self.engine.synchronise()
        views = self.capture.test if full else self.capture.test[:: max(1, len(self.capture.test) // 3)][:3]
        colour = None
        if self.background is not None:
            r, g, b = self.background.tolist()
            colour = (r, g, b)
        found = evaluate(self._snapshot(copy=False), self.capture, views, background=colour, basic=True)
        psnr, ssim = found.psnr, found.ssim
        at = self.at
        self.run.log(
            {
                "step": at.step,
                "psnr": psnr,
                "ssim": ssim,
                "views": len(views),
                "count": self.model.count,
                "seconds": round(at.seconds, 3),
            }
        )
        yield Evaluated(at.step, psnr, ssim, len(views))

    # --- saving

    def _snapshot(self, copy: bool = True) -> Any:
        self.engine.synchronise()
        return self.model.scene(antialiased=self.config.antialiased, copy=copy)

    def _save(self) -> Saved:
        self.engine.synchronise()
        arrays = self.model.state()
        for part in (self.exposures, self.poses):
            if part is not None:
                arrays |= part.state()
        state = {
            "position": vars(self.at).copy(),
            "initial_count": self.initial_count,
            "rng": self.rng.bit_generator.state,
            "antialiased": self.config.antialiased,
            "seconds": self.at.seconds,
            "background": None if self.background is None else self.background.tolist(),
            "scene_arrays": list(NAMES),
        }
        path = self.run.save_checkpoint(self.at.step, arrays, state)
        self.saved_at, self.saved_step = time.monotonic(), self.at.step
        return Saved(self.at.step, path)


def _cuda_is_there() -> bool:
    """Without importing torch where no NVIDIA driver can be: the CPU trainer needs no torch."""
    from pathlib import Path

    if not Path("/proc/driver/nvidia").exists() and not Path("/dev/nvidiactl").exists():
        return False
    import torch

    return torch.cuda.is_available()
