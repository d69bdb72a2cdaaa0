"""`scenerep image decode IN ... OUT`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from scenerep.cli.common import print_json, print_table, say
from scenerep.cli.image.jobs import pairs, run_all
from scenerep.errors import DataError


def decode(
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IN... OUT")],
    format: Literal["png", "jpg", "webp", "avif", "tiff"] = "png",
    preview: int = 0,
    partial: bool = False,
    jobs: int | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Write .sri files as pictures that other programs read.

    Args:
        paths: Files, folders or patterns; last the picture or folder to write. A picture's ending names its format.
        format: Format of pictures that are put into a folder.
        preview: Write a preview with sides of 1/2^LEVEL.
        partial: Take files that were cut off, and write what can be had of them.
        jobs: Files at a time. Default: the number of CPUs.
        overwrite: Replace files that exist.
        json: Print one JSON object.
    """
    from scenerep.codecs.files import decode_file
    from scenerep.codecs.pictures import Stored, write_picture
    from scenerep.io.files import refuse_existing

    def work(pair: tuple[Path, Path]) -> dict[str, Any]:
        source, target = pair
        refuse_existing(target, overwrite)
        data = read_file(source)
        begin = time.monotonic()
        found = decode_file(data, level=preview, partial=partial, file=str(source))
        seconds = time.monotonic() - begin
        write_picture(target, Stored(found.pixels, found.head.icc, found.head.exif), overwrite=overwrite)
        height, width = found.pixels.shape[:2]
        return {
            "file": str(target),
            "source": str(source),
            "width": width,
            "height": height,
            "complete": found.complete,
            "seconds": seconds,
        }

    rows = run_all(work, pairs(paths, (".sri",), f".{format}"), "decoding", jobs)
    for row in rows:
        if not row["complete"] and preview == 0:
            say(f"{row['source']} was cut off: {row['file']} is what could be had of it")
    if json:
        print_json({"files": rows})
        return
    print_table([(row["file"], f"{row['width']} x {row['height']}  {row['seconds']:.2f} s") for row in rows])


def read_file(path: Path) -> bytes:
    """Raises: DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "name an .sri file") from error
