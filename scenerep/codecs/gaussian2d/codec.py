"""Pixels to a payload of `gaussian2d` and back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from scenerep.codecs.base import TOLERANCE, Goal, Preset, Progress
from scenerep.codecs.gaussian2d import stream
from scenerep.codecs.gaussian2d.fit import fit
from scenerep.codecs.gaussian2d.quantised import Quantised, rows_of, to_floats, to_pixels
from scenerep.errors import ConfigError
from scenerep.native import native

_STEPS = {"fast": 200, "medium": 600, "slow": 3000}
_BITS = 34.0  # of a Gaussian, about
_USUAL_RATE = 0.3
_LUMA_STEP, _CHROMA_STEP = 20, 40  # 1/8 of a level


@dataclass(frozen=True)
class Gaussian2dSettings:
    """What to reach, and how long to fit. At most one of count, psnr and size."""

    preset: Preset = "medium"
    """Steps of the fit."""
    count: int | None = None
    """Gaussians."""
    seed: int = 0
    """Of the places that are drawn."""
    psnr: float | None = None
    size: int | None = None
    lam: float | None = None

    def __post_init__(self) -> None:
        goal = Goal(None, self.psnr, self.size, self.lam)
        if self.preset not in _STEPS:
            raise ConfigError(f"there is no preset {self.preset!r}", f"use one of: {', '.join(_STEPS)}")
        if self.lam is not None:
            raise ConfigError("gaussian2d has no lambda", "give bpp, size, psnr or count")
        if self.count is not None and (self.count < 1 or any(v is not None for v in vars(goal).values())):
            raise ConfigError("count has to be positive and the only goal")


def encode(pixels: np.ndarray, settings: Gaussian2dSettings, progress: Progress | None = None) -> bytes:
    """A payload, uint8 or uint16 [h, w, 1 or 3]. The number of Gaussians comes from the size that is wanted."""
    job = _Job(pixels, settings, progress)
    area = pixels.shape[0] * pixels.shape[1]
    if settings.count is not None:
        return job.payload(job.fitted(settings.count))
    if settings.psnr is not None:
        return job.for_psnr(settings.psnr)
    return job.for_size(settings.size or max(1, round(_USUAL_RATE * area / 8)))


def decode(payload: bytes, *, file: str, base: int, level: int = 0) -> np.ndarray:
    """The pixels. Raises: FormatError; a payload that was cut off gives nothing."""
    from scenerep.codecs.files import shrink

    q, deep, grey = stream.read(payload, file, base)
    sums = native().gaussians2d_draw(rows_of(q), q.width, q.height)
    return shrink(to_pixels(q, sums, deep, 1 if grey else 3), level)


class _Job:
    def __init__(self, pixels: np.ndarray, settings: Gaussian2dSettings, progress: Progress | None) -> None:
        self.deep, self.grey = pixels.dtype == np.uint16, pixels.shape[2] == 1
        most = 65535 if self.deep else 255
        colours = np.repeat(pixels, 3, axis=2) if self.grey else pixels
        self.target = np.ascontiguousarray((colours / np.float32(most)).astype(np.float32).transpose(2, 0, 1))
        height, width = pixels.shape[:2]
        r, g, b = (round(float(m) * 255) for m in self.target.mean(axis=(1, 2)))
        none = np.zeros((0, 8), np.int32)
        cell = stream.cell_of(width, height)
        self.shape = Quantised(width, height, cell, (_LUMA_STEP, _CHROMA_STEP), (r, g, b), none)
        self.steps, self.seed, self.progress = _STEPS[settings.preset], settings.seed, progress

    def fitted(self, count: int, start: np.ndarray | None = None, steps: int | None = None) -> np.ndarray:
        def told(done: int, total: int) -> None:
            if self.progress:
                self.progress("fitting", done, total)

        rng = np.random.default_rng(self.seed)
        return fit(self.target, count, self.shape, steps or self.steps, rng, start, told)

    def payload(self, values: np.ndarray) -> bytes:
        return stream.write(replace(self.shape, values=values), deep=self.deep, grey=self.grey)

    def for_size(self, size: int) -> bytes:
        """A short fit tells how long a Gaussian is; a whole one with a few too many is cut to the size."""
        head = len(self.payload(self.shape.values))
        count = max(1, int(8 * (size - head) / _BITS))
        probe = self.payload(self.fitted(count, steps=min(self.steps, 100)))
        count = max(1, round(count * (size - head) / max(1, len(probe) - head) * 1.04))
        values = self.fitted(count)
        while len(values) > 1 and len(self.payload(values)) > size:
            over = len(self.payload(values)) / size - 1
            drop = max(1, math.ceil(len(values) * over))
            values = values[np.argsort(-_worth(values), kind="stable")[: max(1, len(values) - drop)]]
            values = self.fitted(len(values), to_floats(values, self.shape), max(20, self.steps // 10))
        while len(self.payload(values)) < size * (1 - TOLERANCE) and len(values) >= 32:
            more = math.ceil(len(values) * (size / len(self.payload(values)) - 1))
            larger = self.fitted(len(values) + more)
            if len(self.payload(larger)) > size * (1 + TOLERANCE):
                break
            values = larger
        return self.payload(values)

    def for_psnr(self, psnr: float) -> bytes:
        """More Gaussians until it is reached: a gain of 1 dB takes about 1.35 times as many."""
        count, best, missed = max(8, self.target[0].size // 400), b"", math.inf
        for _ in range(8):
            payload = self.payload(self.fitted(count))
            reached = self._psnr(payload)
            if abs(reached - psnr) < missed:
                best, missed = payload, abs(reached - psnr)
            if missed < 0.1:
                break
            count = max(1, min(round(count * 1.35 ** (psnr - reached)), 4 * count, self.target[0].size))
        return best

    def _psnr(self, payload: bytes) -> float:
        pixels = decode(payload, file="<encoded>", base=0)
        most = 65535 if self.deep else 255
        error = np.mean((pixels.transpose(2, 0, 1) / most - self.target[: pixels.shape[2]]) ** 2)
        return -10 * math.log10(max(float(error), 1e-12))


def _worth(values: np.ndarray) -> np.ndarray:
    """About the squared error that leaving one out makes: its colour's square over its area."""
    wide = values.astype(np.float64)
    return (wide[:, 5:] ** 2).sum(axis=1) * 2 ** ((wide[:, 2] + wide[:, 3]) / 4)
