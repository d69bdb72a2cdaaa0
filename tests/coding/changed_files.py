"""`.srz` files with other bytes in their chunks, and checksums that fit them."""

from __future__ import annotations

import struct
import zlib


def with_bytes(data: bytes, at: int, value: bytes, chunk: int = 0) -> bytes:
    """The file with other bytes `at` in a chunk."""
    length, rows = _head(data)
    row = length - 4 - 32 * (rows - chunk)
    start = struct.unpack_from("<Q", data, row + 16)[0]
    changed = bytearray(data)
    changed[start + at : start + at + len(value)] = value
    return mended(changed, data)


def with_count(data: bytes, count: int) -> bytes:
    """The file with another count in its header."""
    changed = bytearray(data)
    struct.pack_into("<I", changed, 20, count)
    length, _ = _head(data)
    struct.pack_into("<I", changed, length - 4, zlib.crc32(changed[: length - 4]))
    return bytes(changed)


def mended(changed: bytes | bytearray, original: bytes) -> bytes:
    """Changed chunks under the original's head, all checksums made good."""
    out = bytearray(changed)
    length, rows = _head(original)
    out[:length] = original[:length]
    for k in range(rows):
        row = length - 4 - 32 * (rows - k)
        start, size = struct.unpack_from("<QI", original, row + 16)
        struct.pack_into("<I", out, row + 28, zlib.crc32(out[start : start + size]))
    struct.pack_into("<I", out, length - 4, zlib.crc32(out[: length - 4]))
    return bytes(out)


def _head(data: bytes) -> tuple[int, int]:
    """(bytes of the head, rows of its table)."""
    return struct.unpack_from("<I", data, 12)[0], struct.unpack_from("<I", data, 24)[0]
