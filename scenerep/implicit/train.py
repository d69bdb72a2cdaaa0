"""The trainer of coordinate networks: `train(run, subject, config)` yields events and keeps the run's checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from scenerep.errors import ConfigError, DataError
from scenerep.events import Evaluated, Event, Saved, Scored, Step, Warned
from scenerep.field_shapes import FieldShape, shape_within
from scenerep.implicit.config import FieldConfig
from scenerep.implicit.networks import Field, field_of, new_field
from scenerep.implicit.subjects import Subject
from scenerep.runs import Run
from scenerep.saved_scenes import FIELD, field_state
from scenerep.scenes import NeuralField

_LOG_EVERY = 50
_PAUSE_SECONDS = 1.0
_EVALUATE_SHARE = 0.25
_CLOCK_EVERY = 5
_LEAST_WEIGHTS = 256


def train(run: Run, subject: Subject, config: FieldConfig) -> Iterator[Event]:
    """Trains until the budget of steps or minutes is used up; goes on from the run's newest checkpoint.

    Closing the generator saves a checkpoint. With `steps`, an interrupted and resumed training ends with the same bits
    as an uninterrupted one. `run.snapshot` gives the scene at any event.

    Raises:
        ConfigError: A budget or count that makes no sense.
    """
    shape = _shape(subject, config)
    for warning in subject.warnings:
        yield Warned(warning)
    yield from _FieldTraining(run, subject, config, shape).events()


def _shape(subject: Subject, config: FieldConfig) -> FieldShape:
    positive = {"minutes": config.minutes, "steps": config.steps, "batch": config.batch, "rate": config.rate}
    for name, value in positive.items():
        if value is not None and not value > 0:  # nan too
            raise ConfigError(f"--{name} is {value}", "give a positive number")
    if config.layers is not None and not 1 <= config.layers <= 16:
        raise ConfigError(f"--layers is {config.layers}", "give 1 to 16")
    most = config.resolved_weights(subject.name)
    network = config.resolved_network(subject.name)
    shape = shape_within(network, subject.inputs, subject.outputs, most, finest=subject.finest, layers=config.layers)
    fault = shape.fault()
    if most < _LEAST_WEIGHTS or fault is not None or shape.count() > most:
        raise ConfigError(
            f"no {network} network has {most} weights at most", "give more with --weights, or fewer --layers"
        )
    return shape


class _FieldTraining:
    def __init__(self, run: Run, subject: Subject, config: FieldConfig, shape: FieldShape) -> None:
        self.run, self.subject, self.config = run, subject, config
        self.rng = np.random.default_rng(run.seed)
        self.step, self.progress, self.evaluated_at = 0, 0.0, 0.0
        seconds = 0.0
        self.field: Field = new_field(shape, run.seed)
        found = run.latest_checkpoint()
        if found is not None:
            self.field = field_of(FieldShape(**found.state["field"]["shape"]), found.arrays)
            seconds, self.step, self.progress = found.state["seconds"], found.step, found.state["progress"]
            self.evaluated_at = found.state["evaluated_at"]
            self.rng.bit_generator.state = found.state["rng"]
            run.rewind(found.step)
            subject.load(found.arrays)
        subject.prepare(run.seed)
        self.optimiser = torch.optim.Adam(
            self.field.parameters(), lr=config.resolved_rate(subject.name), betas=(0.9, 0.99), eps=1e-15
        )
        if found is not None:
            self._put_moments(found.arrays)
        run.snapshot = self._scene
        self.started = time.monotonic() - seconds
        self.saved_at, self.saved_step = time.monotonic(), self.step
        self.count = self.field.shape.count()

    def events(self) -> Iterator[Event]:
        try:
            while self._progress() < 1.0:
                for event in self._learn():
                    before = time.monotonic()
                    yield event
                    outside = time.monotonic() - before
                    if outside > _PAUSE_SECONDS:  # somebody paused the training: that is not training time
                        self.started += outside
        except GeneratorExit:
            self._save()
            raise
        if self.step > self.saved_step:
            yield self._save()
        yield self._measure(full=True)

    def _progress(self) -> float:
        """Read off the clock every few steps only: what lies between is the same on every machine."""
        if self.config.steps is not None:
            self.progress = self.step / self.config.steps
        elif self.step % _CLOCK_EVERY == 0:
            minutes = self.config.resolved_minutes()
            assert minutes is not None
            self.progress = max(self.progress, self._seconds() / (60.0 * minutes))
        return self.progress

    def _seconds(self) -> float:
        return time.monotonic() - self.started

    def _learn(self) -> Iterator[Event]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.resolved_rate(self.subject.name) * 0.5 * (1 + math.cos(math.pi * self.progress))
        self.step += 1
        self.optimiser.zero_grad(set_to_none=True)
        residuals = self.subject.residuals(self.field, self.rng, self.config.batch)
        loss = residuals.square().mean() if self.subject.squares else residuals.abs().mean()
        loss.backward()
        self.optimiser.step()
        self.subject.advance(self.field, self.step, self.rng)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DataError(
                f"the loss is {value} at step {self.step}", "lower --rate; the last checkpoint is from before"
            )
        yield from self._report(value)
        if time.monotonic() - self.saved_at > self.config.save_seconds:
            yield self._save()

    def _report(self, loss: float) -> Iterator[Event]:
        seconds = self._seconds()
        left = seconds * (1 - self.progress) / self.progress if self.progress > 0 else float("inf")
        if self.step % _LOG_EVERY == 0:
            self.run.log({"step": self.step, "loss": loss, "count": self.count, "seconds": round(seconds, 3)})
        yield Step(self.step, loss, self.count, seconds, self.progress, left)
        if self.progress - self.evaluated_at >= _EVALUATE_SHARE and self.progress < 1.0:
            self.evaluated_at = self.progress
            begin = time.monotonic()
            yield self._measure(full=False)
            self.started += time.monotonic() - begin  # measuring a surface takes long: it is not training time

    def _measure(self, *, full: bool) -> Evaluated | Scored:
        found = self.subject.measure(self.field, self.step, full=full)
        about: dict[str, Any] = {"step": self.step, "count": self.count, "seconds": round(self._seconds(), 3)}
        if isinstance(found, Evaluated):
            about |= {"psnr": found.psnr, "ssim": found.ssim, "views": found.views}
        else:
            about |= {"f_score": found.f_score, "distance": found.distance}
        self.run.log(about)
        return found

    def _scene(self) -> NeuralField:
        return self.subject.scene(self.field)

    def _save(self) -> Saved:
        arrays: dict[str, np.ndarray] = self.field.weights() | self.subject.state()
        for name, parameter in self.field.named_parameters():
            moments = self.optimiser.state.get(parameter, {})
            for key in ("exp_avg", "exp_avg_sq"):
                if key in moments:
                    arrays[f"{key}.{name}"] = moments[key].numpy()
        seconds = self._seconds()
        state = {
            "kind": FIELD,
            "field": field_state(self._scene()),
            "progress": self.progress,
            "evaluated_at": self.evaluated_at,
            "rng": self.rng.bit_generator.state,
            "seconds": seconds,
        }
        path = self.run.save_checkpoint(self.step, arrays, state)
        self.saved_at, self.saved_step = time.monotonic(), self.step
        return Saved(self.step, path)

    def _put_moments(self, arrays: dict[str, np.ndarray]) -> None:
        for name, parameter in self.field.named_parameters():
            if f"exp_avg.{name}" not in arrays:
                continue
            self.optimiser.state[parameter] = {
                "step": torch.tensor(float(self.step)),
                **{key: torch.from_numpy(arrays[f"{key}.{name}"].copy()) for key in ("exp_avg", "exp_avg_sq")},
            }
