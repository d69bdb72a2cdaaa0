"""A plot of quality over size, drawn with nothing but Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

_WIDTH, _HEIGHT = 900, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 40, 40, 70
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f")
_NICE = (1, 2, 5)


def rate_distortion_plot(
    curves: dict[str, Sequence[tuple[float, float]]], title: str = "", *, unit: Literal["kB", "bpp"] = "kB"
) -> np.ndarray:
    """PSNR over size (logarithmic): uint8 [560, 900, 3].

    Args:
        curves: For each name, points (size, PSNR in dB); those of one name are joined. Points that are not finite are
            left out.
        unit: Sizes are bytes, shown in kB, or bits per pixel.
    """
    points = {name: sorted(p for p in curve if np.isfinite(p).all() and p[0] > 0) for name, curve in curves.items()}
    every = np.array([p for curve in points.values() for p in curve], dtype=float).reshape(-1, 2)
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((_LEFT, 12), title, fill="black")
    if len(every) == 0:
        return np.asarray(picture)
    x0, x1 = np.log10(every[:, 0].min()) - 0.05, np.log10(every[:, 0].max()) + 0.05
    y0, y1 = every[:, 1].min() - 0.5, every[:, 1].max() + 0.5

    def place(size: float, psnr: float) -> tuple[float, float]:
        u = (np.log10(size) - x0) / (x1 - x0)
        v = (psnr - y0) / (y1 - y0)
        return _LEFT + u * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - v * (_HEIGHT - _TOP - _BOTTOM)

    for tick in _decades(10**x0, 10**x1):
        x, _ = place(tick, y0)
        draw.line([(x, _TOP), (x, _HEIGHT - _BOTTOM)], fill="#dddddd")
        draw.text(
            (x, _HEIGHT - _BOTTOM + 8),
            f"{tick / 1000:g} kB" if unit == "kB" else f"{tick:g} bpp",
            fill="black",
            anchor="mt",
        )
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if (y1 - y0) / s <= 12)
    for tick in np.arange(np.ceil(y0 / step), np.floor(y1 / step) + 1) * step:
        _, y = place(10**x0, tick)
        draw.line([(_LEFT, y), (_WIDTH - _RIGHT, y)], fill="#dddddd")
        draw.text((_LEFT - 8, y), f"{tick:g} dB", fill="black", anchor="rm")
    draw.rectangle([_LEFT, _TOP, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM], outline="black")
    for number, (name, curve) in enumerate(points.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [place(*p) for p in curve]
        if len(places) > 1:
            draw.line(places, fill=colour, width=2)
        for x, y in places:
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
        draw.text((_LEFT + 12, _TOP + 10 + 16 * number), name, fill=colour)
    return np.asarray(picture)


def _decades(low: float, high: float) -> list[float]:
    """1, 2, 5 times the powers of ten in a range."""
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [nice * 10.0**e for e in exponents for nice in _NICE if low <= nice * 10.0**e <= high]
