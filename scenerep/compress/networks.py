"""`compress rdo` for coordinate networks: a step for each array of weights, and roundings, under one lambda.

The distortion is the mean square of the subject's residuals, by the curvature of each weight: the diagonal of J^T J, J
the residuals by the weights, estimated by backward passes of random signs (Hutchinson 1990). For a lambda, in squared
error per bit, the step of an array is that of a uniform quantiser at dD/dR = -lambda, step^2 = 6 lambda / (ln 2 H),
with H the mean curvature of its weights; a weight is then rounded to that one of its two neighbours, or to zero, which
costs least with its bits. A goal of size or loss is found by bisection of lambda.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scenerep.coding.kinds import decode_file
from scenerep.coding.weights import encode_integers
from scenerep.compress.base import Goal
from scenerep.errors import ConfigError
from scenerep.events import Compressed, Encoded, Evaluated, Event, Scored
from scenerep.implicit.evaluate import network_of
from scenerep.implicit.subjects import Subject
from scenerep.scenes import PICTURE, NeuralField

PICTURE_LOSSES = {"low": 1.0, "medium": 0.3, "high": 0.1, "near-lossless": 0.02}
"""dB that a preset may lose of a picture."""
SURFACE_LOSSES = {"low": 0.02, "medium": 0.005, "high": 0.002, "near-lossless": 0.0005}
"""F-score that a preset may lose of a surface."""
_PER_LAMBDA = 1e6 * 127.5**2
"""Goal.lambda_ is the rise of the mean squared error (of values 0 to 255) that a million bits are worth; outputs span
[-1, 1]."""
_LOW, _HIGH = 1e-13, 1e-3
_TRIALS = 16
_SIZE_TOLERANCE = 0.02
_LOSS_TOLERANCE = 0.05
_ROUNDS, _PLACES = 48, 4096
_PASSES = 2  # roundings, each with the bits that the one before has shown


@dataclass(frozen=True)
class NetworkJob:
    """A network to be compressed; as base.Job. subject: What it was trained on, prepared."""

    scene: NeuralField
    subject: Subject
    goal: Goal
    seed: int
    metadata: dict[str, Any]


def compress_network(job: NetworkJob) -> Iterator[Event]:
    """Yields the sizes of what was tried, and at the end a `Compressed`.

    Raises:
        ConfigError: a loss in dB of a surface.
    """
    if job.goal.loss is not None and job.scene.subject != PICTURE:
        raise ConfigError("a surface has no PSNR that could be lost", "give --target-size, --lambda or --quality")
    yield from _Search(job).events()


def curvature(scene: NeuralField, subject: Subject, seed: int) -> dict[str, np.ndarray]:
    """float64 arrays of the weights' shapes: rise of the mean squared residual by a weight's squared error."""
    field = network_of(scene)
    rng = np.random.default_rng(seed)
    total = {name: np.zeros(a.shape) for name, a in scene.weights.items()}
    for _ in range(_ROUNDS):
        field.zero_grad(set_to_none=True)
        residuals = subject.residuals(field, rng, _PLACES)
        signs = rng.choice(np.array([-1, 1], np.float32), tuple(residuals.shape))
        (residuals * torch.from_numpy(signs)).sum().backward()
        for name, parameter in field.named_parameters():
            if parameter.grad is not None:
                total[name] += parameter.grad.numpy().astype(np.float64) ** 2 / signs.size
    return {name: h / _ROUNDS for name, h in total.items()}


def steps_for(curvatures: dict[str, np.ndarray], lam: float) -> dict[str, float]:
    """Step of each array, as float32 holds it."""
    steps = {}
    for name, h in curvatures.items():
        step = math.sqrt(6 * lam / (math.log(2) * max(float(h.mean()), 1e-12)))
        steps[name] = float(np.float32(np.clip(step, 2.0**-20, 2.0**4)))
    return steps


def round_weights(values: np.ndarray, h: np.ndarray, step: float, lam: float) -> np.ndarray:
    """int32 of the shape of `values`: roundings of least h (error)^2 + lambda bits.

    Bits are by the frequencies of the integers themselves, as an adaptive coder finds them.
    """
    scaled = values.astype(np.float64) / step
    q = np.round(scaled).astype(np.int32)
    lower, upper = np.floor(scaled).astype(np.int32), np.ceil(scaled).astype(np.int32)
    candidates = np.stack([lower, upper, np.zeros_like(lower)])
    errors = h * ((candidates - scaled) * step) ** 2
    for _ in range(_PASSES):
        found, counts = np.unique(q, return_counts=True)
        total = q.size
        known = np.searchsorted(found, candidates).clip(max=len(found) - 1)
        frequency = np.where(found[known] == candidates, counts[known], 0.5)
        cost = errors + lam * np.log2(total / frequency)
        q = np.take_along_axis(candidates, cost.argmin(axis=0)[None], axis=0)[0]
    return q


class _Search:
    def __init__(self, job: NetworkJob) -> None:
        self.job = job
        self.curvature = curvature(job.scene, job.subject, job.seed)
        self.tried = 0
        self.report: dict[str, Any] = {}

    def events(self) -> Iterator[Event]:
        goal = self.job.goal
        if goal.lambda_ is not None:
            data = self.encode(goal.lambda_ / _PER_LAMBDA)
        elif goal.size is not None:
            size = goal.size
            data = yield from self._bisect(lambda data: size - len(data), _SIZE_TOLERANCE * size, smallest=True)
        else:
            is_picture = self.job.scene.subject == PICTURE
            losses = PICTURE_LOSSES if is_picture else SURFACE_LOSSES
            allowed = losses[goal.quality] if goal.quality is not None else goal.loss
            assert allowed is not None
            before = self._score(self.job.scene)
            data = yield from self._bisect(
                lambda data: allowed - (before - self._score(_decoded(data))), _LOSS_TOLERANCE * allowed, smallest=False
            )
        yield Compressed(data, self.report)

    def _score(self, scene: NeuralField) -> float:
        found: Evaluated | Scored = self.job.subject.measure(network_of(scene), 0, full=False)
        return found.psnr if isinstance(found, Evaluated) else found.f_score

    def _bisect(self, spare: Callable[[bytes], float], tolerance: float, *, smallest: bool) -> Iterator[Any]:
        """The file of the smallest lambda (or the largest) with which something is to spare.

        Raises:
            ConfigError: not even the largest (or smallest) lambda has that.
        """
        low, high = _LOW, _HIGH
        best: bytes | None = None
        report: dict[str, Any] = {}
        for _ in range(_TRIALS):
            middle = math.sqrt(low * high)
            data = self.encode(middle)
            left = spare(data)
            yield Encoded(self.tried, len(data), self.report["count"])
            if left >= 0:
                best, report = data, self.report
                if left <= tolerance:
                    break
            if (left >= 0) == smallest:
                high = middle
            else:
                low = middle
        if best is None:
            smallest_file = len(self.encode(high if smallest else low))
            raise ConfigError(
                f"the goal cannot be reached: the file would have {smallest_file:,} bytes",
                "train a smaller network with --weights, or ask for less",
            )
        self.report = report
        return best

    def encode(self, lam: float) -> bytes:
        """The file for a lambda in squared error of an output per bit."""
        self.tried += 1
        scene = self.job.scene
        steps = steps_for(self.curvature, lam)
        integers = {
            name: round_weights(values, self.curvature[name], steps[name], lam)
            for name, values in scene.weights.items()
        }
        data = encode_integers(scene, integers, steps, self.job.metadata)
        self.report = {
            "method": "rdo",
            "count": len(scene),
            "zeros": int(sum((q == 0).sum() for q in integers.values())),
            "lambda": lam * _PER_LAMBDA,
            "bits_per_weight": 8 * len(data) / len(scene),
            "tried": self.tried,
        }
        return data


def _decoded(data: bytes) -> NeuralField:
    scene = decode_file(data).scene
    assert isinstance(scene, NeuralField)
    return scene
