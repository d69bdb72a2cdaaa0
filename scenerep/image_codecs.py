"""The table of image codecs. Entries name their module, which is imported on use, so it costs nothing to read."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from scenerep.errors import ConfigError


@dataclass(frozen=True)
class Codec:
    """A way from pixels to a payload and back.

    module: Has `encode(pixels, settings, progress=None) -> bytes` and
        `decode(payload, *, file, base, level=0) -> pixels`.
        pixels: uint8 or uint16 [h, w, c], c = 1 or 3. level k asks for a preview of 1/2^k of the sides. A payload that
        was cut off gives a preview too, if the codec can, else a FormatError whose offsets count from `base`.
    settings: The dataclass of `encode`'s settings in that module: `preset` and at most one of `psnr`,
        `size` (bytes of the payload), `lam`.
    threads: Whether it uses all cores for one picture.
    """

    help: str
    module: str
    settings: str
    threads: bool = False

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)


CODECS = {
    "dct": Codec(
        "Predicted blocks, cosine transforms, learned context models: about a second a picture",
        "scenerep.codecs.dct",
        "DctSettings",
    ),
    "gaussian2d": Codec(
        "A sum of 2-D Gaussians, fitted: to look at, not small",
        "scenerep.codecs.gaussian2d",
        "Gaussian2dSettings",
        threads=True,
    ),
}
DEFAULT = "dct"


def codec_named(name: str) -> Codec:
    """Raises: ConfigError if there is none."""
    if name not in CODECS:
        raise ConfigError(f"there is no codec {name!r}", f"use one of: {', '.join(CODECS)}")
    return CODECS[name]
