"""Lossless WebP pictures as byte arrays, with their size checked before a decoder sees them."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from scenerep.errors import FormatError
from scenerep.io.bounds import check_expansion


def write_webp(rgba: np.ndarray) -> bytes:
    """Lossless WebP of uint8 [h, w, 4]; transparent pixels keep their colours."""
    out = io.BytesIO()
    # Method 4 of 6: the last two are much slower for a per cent of the size.
    Image.fromarray(rgba, "RGBA").save(out, "WEBP", lossless=True, exact=True, quality=75, method=4)
    return out.getvalue()


def read_webp(data: bytes, file: str, least: int, budget: int) -> np.ndarray:
    """uint8 [h, w, 4] of a WebP file.

    Args:
        least: Pixels that have to be there.
        budget: Bytes of the scene's whole file: what the pictures may unpack to is in proportion to it.

    Raises:
        FormatError: if it is no WebP, has too few pixels, or more than its bytes can hold.
    """
    width, height = _size(data, file)
    if width * height < least:
        raise FormatError(file, f"a picture of at least {least} pixels", f"{width} x {height}", 0)
    check_expansion(width * height * 4, budget, file)
    try:
        with Image.open(io.BytesIO(data), formats=("WEBP",)) as picture:
            if picture.size != (width, height):
                raise FormatError(file, f"a picture of {width} x {height}", f"{picture.size[0]} x {picture.size[1]}")
            return np.asarray(picture.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise FormatError(file, "a WebP picture", f"damage ({error})", 0) from None


def _size(data: bytes, file: str) -> tuple[int, int]:
    """(width, height) from the container's first chunk (RFC 9649, sections 2.4 to 2.7)."""
    kind = data[12:16]
    if len(data) >= 30 and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        if kind == b"VP8L" and data[20] == 0x2F:
            bits = struct.unpack_from("<I", data, 21)[0]
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if kind == b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    raise FormatError(file, "a WebP picture", repr(bytes(data[:16])), 0)
