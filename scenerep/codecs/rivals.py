"""Ordinary codecs, to compare with: JPEG, WebP, AVIF by Pillow; JPEG XL, HEIC and mozjpeg where their packages are."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from scenerep.errors import DeviceError


@dataclass(frozen=True)
class Rival:
    """qualities: Points of its curve, from small to large. package: What to install for it; empty = Pillow alone."""

    help: str
    qualities: tuple[int, ...]
    encode: Callable[[np.ndarray, int], bytes]
    package: str = ""

    def available(self) -> bool:
        """Whether it can be run here."""
        if not self.package:
            return True
        try:
            importlib.import_module(_MODULES[self.package])
        except (ImportError, OSError):
            return False
        return True


_MODULES = {"pillow-heif": "pillow_heif", "pillow-jxl-plugin": "pillow_jxl", "pyvips[binary]": "pyvips"}


def _pillow(kind: str, **options: Any) -> Callable[[np.ndarray, int], bytes]:
    def encode(pixels: np.ndarray, quality: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, kind, quality=quality, **options)
        return out.getvalue()

    return encode


def _heic(pixels: np.ndarray, quality: int) -> bytes:
    heif = importlib.import_module("pillow_heif")
    out = io.BytesIO()
    heif.from_pillow(Image.fromarray(pixels)).save(out, quality=quality, chroma=444)
    return out.getvalue()


def _mozjpeg(pixels: np.ndarray, quality: int) -> bytes:
    vips = importlib.import_module("pyvips")
    return vips.Image.new_from_array(pixels).jpegsave_buffer(
        Q=quality, optimize_coding=True, interlace=True, trellis_quant=True, overshoot_deringing=True,
        optimize_scans=True, quant_table=3, keep="none",
    )  # fmt: skip


def _jxl(pixels: np.ndarray, quality: int) -> bytes:
    importlib.import_module("pillow_jxl")
    return _pillow("JXL", effort=7)(pixels, quality)


RIVALS = {
    "jpeg": Rival("libjpeg-turbo, 4:2:0, optimised", (5, 10, 20, 40, 60, 75, 90), _pillow("JPEG", optimize=True)),
    "mozjpeg": Rival("mozjpeg by libvips, 4:2:0", (10, 20, 40, 60, 75, 90), _mozjpeg, "pyvips[binary]"),
    "webp": Rival("libwebp, method 6", (1, 10, 30, 55, 78, 92), _pillow("WEBP", method=6)),
    "avif": Rival(
        "libaom, speed 4, 4:4:4, tune=psnr",
        (18, 32, 46, 60, 76),
        _pillow("AVIF", speed=4, subsampling="4:4:4", advanced={"tune": "psnr"}),
    ),
    "jxl": Rival("libjxl, effort 7", (5, 20, 40, 65, 82, 92), _jxl, "pillow-jxl-plugin"),
    "heic": Rival("x265, 4:4:4", (10, 25, 38, 50, 65, 80), _heic, "pillow-heif"),
}


def rival_encode(name: str, pixels: np.ndarray, quality: int) -> bytes:
    """uint8 [h, w, 3] to a file's bytes. Raises: DeviceError if its package is missing."""
    rival = RIVALS[name]
    if not rival.available():
        raise DeviceError(f"{name} needs the package {rival.package}", f"pip install '{rival.package}'")
    return rival.encode(pixels, quality)


def rival_decode(name: str, data: bytes) -> np.ndarray:
    """uint8 [h, w, 3]."""
    if name == "heic":
        return np.asarray(importlib.import_module("pillow_heif").open_heif(data).to_pillow().convert("RGB"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
