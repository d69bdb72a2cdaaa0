"""What all codecs are told, and the measure of what they give."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scenerep.errors import ConfigError

Preset = Literal["fast", "medium", "slow"]
Progress = Callable[[str, int, int], None]
TOLERANCE = 0.02
"""How far a file may be from the size that was asked for, relative."""


@dataclass(frozen=True)
class Goal:
    """What a file has to reach: at most one of the first three; none is the codec's usual quality.

    bits_per_pixel: Of the whole file.
    psnr: dB over all colour channels of the decoded picture.
    size: Bytes of the whole file.
    lam: Rise of the mean squared error (values 0 to 1) that is worth a bit per pixel.
    """

    bits_per_pixel: float | None = None
    psnr: float | None = None
    size: int | None = None
    lam: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} cannot be had together", "give one of bpp, psnr, size and lambda")
        for name, value in given.items():
            if not 0 < value < float("inf"):
                raise ConfigError(f"{name} is {value}", "give a positive number")


def psnr(pixels: np.ndarray, reference: np.ndarray) -> float:
    """dB over all channels of two pictures of one integer type; inf if they are equal."""
    error = float(np.mean((pixels.astype(np.float64) - reference) ** 2))
    return math.inf if error == 0 else 20 * math.log10(np.iinfo(pixels.dtype).max) - 10 * math.log10(error)
