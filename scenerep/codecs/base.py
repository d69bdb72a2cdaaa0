"""What a codec is, and the table of them. Entries name their module, which is imported on use."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

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
    lam: The codec's own rate-distortion multiplier: rise of the mean squared error (values 0 to 1) worth a bit per pixel.
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


@dataclass(frozen=True)
class Codec:
    """A way from pixels to a payload and back.

    module: Has `encode(pixels, settings, progress=None) -> bytes` and `decode(payload, *, file, base, level=0) -> pixels`.
        pixels: uint8 or uint16 [h, w, c], c = 1 or 3. level k asks for a preview of 1/2^k of the sides. A payload that
        was cut off gives a preview too, if the codec can, else a FormatError whose offsets count from `base`.
    settings: The dataclass of `encode`'s settings in that module: `preset` and at most one of `bits_per_pixel`, `psnr`,
        `size` (bytes of the payload), `lam`.
    """

    help: str
    module: str
    settings: str

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)


CODECS = {
    "dct": Codec("Prediction and cosine transforms with learned context models: fast", "scenerep.codecs.dct", "DctSettings"),
}
DEFAULT = "dct"


def codec_named(name: str) -> Codec:
    """Raises: ConfigError if there is none."""
    if name not in CODECS:
        raise ConfigError(f"there is no codec {name!r}", f"use one of: {', '.join(CODECS)}")
    return CODECS[name]
