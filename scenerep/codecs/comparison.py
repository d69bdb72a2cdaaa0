"""Codecs measured on pictures: bytes of files, PSNR, MS-SSIM, seconds; curves and their differences in rate."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from scenerep.codecs.base import Preset, Progress
from scenerep.codecs.bd_rate import bd_rate
from scenerep.codecs.files import decode, encode
from scenerep.codecs.rivals import RIVALS, rival_decode, rival_encode
from scenerep.errors import ConfigError
from scenerep.image_codecs import CODECS
from scenerep.metrics import psnr
from scenerep.metrics.multiscale import SMALLEST, ms_ssim

PSNRS = (28.0, 31.0, 34.0, 37.0, 40.0)
"""Points of our codecs' curves if they have no quality of their own, in dB."""
QUALITIES = {"dct": (22.0, 28.0, 34.0, 40.0, 47.0, 55.0)}
"""Points of the curves of those that have."""
RATES = {"gaussian2d": (0.12, 0.35)}
"""Those that are made for a number of bits per pixel."""


def known(name: str) -> bool:
    """Whether a codec of that name can be measured here."""
    return name in CODECS or (name in RIVALS and RIVALS[name].available())


def measure(
    name: str,
    pictures: Iterable[tuple[str, np.ndarray]],
    *,
    preset: Preset = "medium",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """A row for each picture (name, uint8 [h, w, 3]) and each point of the codec's curve.

    Raises:
        ConfigError: There is no such codec. DeviceError: Its package is missing.
    """
    if name not in CODECS and name not in RIVALS:
        raise ConfigError(f"there is no codec {name!r}", f"use {', '.join([*CODECS, *RIVALS])}")
    todo = list(pictures)
    points: Sequence[float] = (
        RIVALS[name].qualities if name in RIVALS else QUALITIES.get(name) or RATES.get(name, PSNRS)
    )
    rows = []
    for done, (picture, pixels) in enumerate(todo):
        for point in points:
            rows.append(_row(name, picture, pixels, point, preset))
        if progress:
            progress(name, done + 1, len(todo))
    return rows


def _row(name: str, picture: str, pixels: np.ndarray, point: float, preset: Preset) -> dict[str, Any]:
    begin, cpu = time.perf_counter(), time.process_time()
    if name in RIVALS:
        data = rival_encode(name, pixels, int(point))
    elif name in QUALITIES:
        data = encode(pixels, codec=name, preset=preset, quality=point)
    elif name in RATES:
        data = encode(pixels, codec=name, preset=preset, bits_per_pixel=point)
    else:
        data = encode(pixels, codec=name, preset=preset, psnr=point)
    middle, cpu_middle = time.perf_counter(), time.process_time()
    decoded = rival_decode(name, data) if name in RIVALS else decode(data)
    end, cpu_end = time.perf_counter(), time.process_time()
    height, width = pixels.shape[:2]
    return {
        "codec": name,
        "point": point,
        "picture": picture,
        "bytes": len(data),
        "bpp": 8 * len(data) / (height * width),
        "psnr": psnr(decoded, pixels),
        "ms_ssim": ms_ssim(decoded, pixels) if min(height, width) >= SMALLEST else None,
        "encode_seconds": middle - begin,
        "decode_seconds": end - middle,
        "encode_cpu_seconds": cpu_middle - cpu,
        "decode_cpu_seconds": cpu_end - cpu_middle,
    }


def means(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """By codec, the means over the pictures at each point, from small to large."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for name in dict.fromkeys(row["codec"] for row in rows):
        own = [row for row in rows if row["codec"] == name]
        for point in sorted({row["point"] for row in own}):
            at = [row for row in own if row["point"] == point]
            mean: dict[str, Any] = {"codec": name, "point": point, "pictures": len(at)}
            for key in ("bpp", "psnr", "ms_ssim", *(k for k in at[0] if k.endswith("seconds"))):
                values = [row[key] for row in at if row[key] is not None]
                mean[key] = float(np.mean(values)) if values else None
            curves.setdefault(name, []).append(mean)
    return curves


def differences(curves: dict[str, list[dict[str, Any]]], quality: str = "psnr") -> list[dict[str, Any]]:
    """BD-rate of each codec against each other one, by the mean curves."""
    points = {
        name: [(p["bpp"], _scale(p[quality], quality)) for p in curve if p[quality] is not None]
        for name, curve in curves.items()
    }
    found = []
    for name, curve in points.items():
        for anchor, other in points.items():
            result = bd_rate(curve, other) if name != anchor else None
            if result is not None:
                low, high = (_unscale(value, quality) for value in result[1:])
                found.append({"codec": name, "anchor": anchor, "bd_rate": result[0], "from": low, "to": high})
    return found


def _scale(value: float, quality: str) -> float:
    """MS-SSIM in dB, where its steps are even."""
    return value if quality == "psnr" else -10 * float(np.log10(max(1 - value, 1e-9)))


def _unscale(value: float, quality: str) -> float:
    return value if quality == "psnr" else 1 - 10 ** (-value / 10)
