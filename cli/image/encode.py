"""`scenerep image encode IN ... OUT`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from scenerep.cli.common import format_bytes, print_json, print_table
from scenerep.cli.image.jobs import pairs, run_all
from scenerep.image_codecs import DEFAULT, codec_named


def encode(
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IN... OUT")],
    codec: str = DEFAULT,
    preset: Literal["fast", "medium", "slow"] = "medium",
    bpp: float | None = None,
    psnr: float | None = None,
    size: str | None = None,
    lambda_: Annotated[float | None, tyro.conf.arg(name="lambda")] = None,
    quality: float | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Make small .sri files of pictures: PNG, JPEG, WebP, AVIF, TIFF.

    With several pictures, a folder or a pattern in quotes, OUT is a folder. At most one of --bpp, --psnr, --size,
    --lambda and --quality; without one, a quality at which little is seen. Alpha is kept without loss, the ICC profile
    and EXIF as they are.

    Args:
        paths: Pictures, folders of them or patterns; last the file or folder to write.
        codec: Name of the codec: dct or gaussian2d.
        preset: How long to search for a smaller file.
        bpp: Bits per pixel of the whole file, within 2 %.
        psnr: Quality to reach, in dB over all colour channels.
        size: Size of the file, for instance 40kB, within 2 %.
        lambda_: Rise of the mean squared error (of values 0 to 1) that a bit per pixel is worth.
        quality: The codec's own knob, 0 to 100 (dct).
        jobs: Pictures at a time. Default: the number of CPUs.
        overwrite: Replace files that exist.
        json: Print one JSON object.
    """
    from scenerep import codecs
    from scenerep.cli.compress import parse_size
    from scenerep.codecs.base import psnr as psnr_of
    from scenerep.codecs.files import decode
    from scenerep.codecs.pictures import READABLE, read_picture
    from scenerep.io.files import refuse_existing, write_bytes

    goal: dict[str, Any] = {
        "bits_per_pixel": bpp,
        "psnr": psnr,
        "size": None if size is None else parse_size(size),
        "lam": lambda_,
        "quality": quality,
    }
    goal = {name: value for name, value in goal.items() if value is not None}
    codecs.Goal(**{name: value for name, value in goal.items() if name != "quality"})
    entry = codec_named(codec)

    def work(pair: tuple[Path, Path]) -> dict[str, Any]:
        source, target = pair
        refuse_existing(target, overwrite)
        picture = read_picture(source)
        begin = time.monotonic()
        data = codecs.encode(picture.pixels, codec=codec, preset=preset, icc=picture.icc, exif=picture.exif, **goal)
        seconds = time.monotonic() - begin
        write_bytes(target, data, overwrite=overwrite)
        height, width, channels = picture.pixels.shape
        colours = channels - (channels in (2, 4))
        return {
            "file": str(target),
            "source": str(source),
            "bytes": len(data),
            "bpp": 8 * len(data) / (height * width),
            "psnr": psnr_of(picture.pixels[..., :colours], decode(data)[..., :colours]),
            "seconds": seconds,
        }

    todo = pairs(paths, READABLE, ".sri")
    rows = run_all(work, todo, "encoding", 1 if entry.threads and jobs is None else jobs)
    if json:
        print_json({"codec": codec, "preset": preset, "files": rows})
        return
    print_table([(row["file"], _said(row)) for row in rows])


def _said(row: dict[str, Any]) -> str:
    return f"{format_bytes(row['bytes'])}  {row['bpp']:.3f} bpp  {row['psnr']:.2f} dB  {row['seconds']:.1f} s"
