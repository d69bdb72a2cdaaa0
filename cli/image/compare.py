"""`scenerep image compare DIR`: codecs measured on pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from scenerep.cli.common import print_json, say, stage_progress
from scenerep.errors import ConfigError, DataError
from scenerep.image_codecs import CODECS


def compare(
    sources: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR...")],
    codecs: str = "",
    preset: Literal["fast", "medium", "slow"] = "medium",
    limit: int | None = None,
    plot: Path | None = None,
    page: Path | None = None,
    json: bool = False,
) -> None:
    """Compare codecs on pictures: bits per pixel of whole files, PSNR, MS-SSIM, seconds, and BD-rate.

    BD-rate: mean difference in size at equal quality, by PCHIP through the curves of the means over all pictures.
    Pictures with alpha or 16 bits are compared as 8-bit RGB.

    Args:
        sources: Pictures, or folders of them.
        codecs: Names, with commas between: ours, and jpeg, webp, avif, mozjpeg, jxl, heic. Default: all that can run.
        preset: How long ours search.
        limit: Take only the first so many pictures.
        plot: Also draw PSNR over bits per pixel into this PNG.
        page: Also write table and plot as this HTML page.
        json: Print one JSON object.
    """
    from scenerep.codecs.comparison import differences, known, means, measure
    from scenerep.codecs.rivals import RIVALS

    names = [name.strip() for name in codecs.split(",") if name.strip()]
    if not names:
        names = [name for name in [*CODECS, *RIVALS] if known(name)]
        missing = [f"{name} (pip install '{RIVALS[name].package}')" for name in RIVALS if not known(name)]
        if missing:
            say(f"left out: {', '.join(missing)}")
    pictures = read_pictures(sources)[:limit]
    rows: list[dict[str, Any]] = []
    with stage_progress() as progress:
        for name in names:
            rows += measure(name, pictures, preset=preset, progress=progress)
    curves = means(rows)
    gains = differences(curves) + [{**row, "quality": "ms_ssim"} for row in differences(curves, "ms_ssim")]
    if plot is not None:
        _save_plot(plot, curves)
    if page is not None:
        _save_page(page, curves, gains, len(pictures))
    if json:
        print_json({"pictures": len(pictures), "preset": preset, "rows": rows, "curves": curves, "bd_rates": gains})
        return
    for line in _lines([_curve_row(point) for curve in curves.values() for point in curve]):
        print(line)
    print()
    for line in _lines([_gain_row(gain) for gain in gains]):
        print(line)


def read_pictures(sources: Sequence[Path]) -> list[tuple[str, Any]]:
    """(name, uint8 [h, w, 3]) of pictures and of those in folders."""
    from scenerep.codecs.pictures import READABLE, read_picture

    if not sources:
        raise ConfigError("there is nothing to compare", "name a folder of pictures")
    files: list[Path] = []
    for source in sources:
        files += sorted(p for p in source.iterdir() if p.suffix.lower() in READABLE) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{', '.join(map(str, sources))}: no pictures", f"endings: {', '.join(READABLE)}")
    return [(file.name, _rgb(read_picture(file).pixels)) for file in files]


def _rgb(pixels: Any) -> Any:
    import numpy as np

    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3])


def _curve_row(point: dict[str, Any]) -> dict[str, str]:
    return {
        "codec": point["codec"],
        "point": f"{point['point']:g}",
        "bpp": f"{point['bpp']:.4f}",
        "PSNR": f"{point['psnr']:.2f}",
        "MS-SSIM": "-" if point["ms_ssim"] is None else f"{point['ms_ssim']:.4f}",
        "encode s": f"{point['encode_seconds']:.3f}",
        "decode s": f"{point['decode_seconds']:.3f}",
    }


def _gain_row(gain: dict[str, Any]) -> dict[str, str]:
    quality = gain.get("quality", "psnr")
    digits, unit = (".1f", " dB") if quality == "psnr" else (".3f", "")
    return {
        "codec": gain["codec"],
        "against": gain["anchor"],
        "by": "PSNR" if quality == "psnr" else "MS-SSIM",
        "BD-rate": f"{100 * gain['bd_rate']:+.1f} %",
        "range": f"{gain['from']:{digits}} to {gain['to']:{digits}}{unit}",
    }


def _lines(rows: list[dict[str, str]]) -> list[str]:
    if not rows:
        return []
    table = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths)))
        for line in table
    ]


def _draw(curves: dict[str, list[dict[str, Any]]]) -> Any:
    from scenerep.evaluation.plot import rate_distortion_plot

    points: dict[str, Sequence[tuple[float, float]]] = {
        name: [(point["bpp"], point["psnr"]) for point in curve] for name, curve in curves.items()
    }
    return rate_distortion_plot(points, "PSNR over bits per pixel, means over all pictures", unit="bpp")


def _save_plot(path: Path, curves: dict[str, list[dict[str, Any]]]) -> None:
    import imageio.v3 as iio

    from scenerep.io.files import replacing

    with replacing(path) as temporary:
        iio.imwrite(temporary, _draw(curves))


def _save_page(path: Path, curves: dict[str, list[dict[str, Any]]], gains: list[dict[str, Any]], count: int) -> None:
    from PIL import Image

    from scenerep.io.files import write_bytes

    picture = io.BytesIO()
    Image.fromarray(_draw(curves)).save(picture, "PNG")
    encoded = base64.b64encode(picture.getvalue()).decode()
    tables = [[_curve_row(point) for curve in curves.values() for point in curve], [_gain_row(gain) for gain in gains]]
    body = "".join(_html_table(rows) for rows in tables if rows)
    text = (
        '<!doctype html><meta charset="utf-8"><title>Image codecs</title>'
        "<style>body{font:14px sans-serif;margin:2em}td,th{padding:2px 10px;text-align:right}"
        "table{border-collapse:collapse;margin:1em 0}tr:nth-child(even){background:#f4f4f4}</style>"
        f'<h1>Image codecs on {count} pictures</h1><img alt="PSNR over bits per pixel" '
        f'src="data:image/png;base64,{encoded}">{body}'
    )
    write_bytes(path, text.encode())


def _html_table(rows: list[dict[str, str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row.values()) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{lines}</table>"
