"""`scenerep image info IN.sri`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro

from scenerep.cli.common import format_bytes, print_json, print_table
from scenerep.cli.image.decode import read_file


def info(path: Annotated[Path, tyro.conf.Positional], json: bool = False) -> None:
    """Say what is in an .sri file, without decoding its picture.

    Args:
        path: The file.
        json: Print one JSON object.
    """
    from scenerep.codecs.container import read_container

    data = read_file(path)
    parts = read_container(data, str(path))
    head = parts.head
    found: dict[str, Any] = {
        "file": str(path),
        "codec": head.codec,
        "width": head.width,
        "height": head.height,
        "channels": head.channels,
        "alpha": head.alpha,
        "depth": head.depth,
        "bytes": len(data),
        "bpp": 8 * len(data) / (head.width * head.height),
        "crc32": f"{head.checksum:08x}",
        "complete": parts.complete,
        "payload_bytes": len(parts.payload),
        "icc_bytes": len(head.icc or b""),
        "exif_bytes": len(head.exif or b""),
        "metadata": head.metadata,
    }
    if json:
        print_json(found)
        return
    print_table([
        ("codec", head.codec),
        ("picture", f"{head.width} x {head.height}, {'grey' if head.channels == 1 else 'RGB'}"
         f"{' with alpha' if head.alpha else ''}, {head.depth} bits"),
        ("size", f"{format_bytes(len(data))}, {found['bpp']:.3f} bpp"),
        ("CRC-32 of the pixels", found["crc32"]),
        ("complete", "yes" if parts.complete else "no: the file was cut off"),
        *([("ICC profile", format_bytes(len(head.icc)))] if head.icc else []),
        *([("EXIF", format_bytes(len(head.exif)))] if head.exif else []),
        *((key, str(value)) for key, value in head.metadata.items()),
    ])  # fmt: skip
