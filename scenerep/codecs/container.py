"""The `.sri` container: head and chunks to bytes and back. Byte table: docs/formats/sri.md.

Little-endian. The picture's payload is the last chunk, so that a file that was cut off still has all the rest.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

from scenerep.coding.container import read_metadata
from scenerep.errors import FormatError, SceneRepError

MAGIC = b"\x89SRI"
VERSION = 1
MAX_PIXELS = 1 << 28
MAX_SIDE = 1 << 20
MAX_METADATA = 1 << 16
CHUNKS = (b"meta", b"icc ", b"exif", b"alph", b"pict")
"""All that a file may hold, in their order; only the picture has to be there."""

_HEADER = struct.Struct("<4sBBBBIIIB")
_ROW = struct.Struct("<4sII")
_COPY = "get a fresh copy of the file"
_NAME = re.compile(rb"[a-z0-9][a-z0-9-]{0,15}")


@dataclass(frozen=True)
class Head:
    """What a file says of its picture.

    channels: Of colour: 1 (grey) or 3.
    depth: Bits of a sample, 8 or 16.
    checksum: CRC-32 of the decoded pixels, rows of interleaved colour channels, 16-bit samples little-endian.
    """

    codec: str
    width: int
    height: int
    channels: int
    depth: int
    alpha: bool
    checksum: int
    metadata: dict[str, Any] = field(default_factory=dict)
    icc: bytes | None = None
    exif: bytes | None = None


@dataclass(frozen=True)
class Container:
    """A file taken apart.

    offset: Byte at which the picture's payload starts.
    complete: Whether the payload is all there; if not, its checksum was not tested.
    """

    head: Head
    payload: bytes
    alpha: bytes | None
    offset: int
    complete: bool


def write_container(head: Head, payload: bytes, alpha: bytes | None = None) -> bytes:
    """The file.

    Raises:
        SceneRepError: the metadata have no JSON form, or something is too large.
    """
    try:
        text = json.dumps(head.metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise SceneRepError(f"the metadata cannot be written as JSON: {error}", "use plain values only") from error
    if len(text) > MAX_METADATA:
        raise SceneRepError(f"{len(text)} bytes of metadata are too many", f"use at most {MAX_METADATA}")
    parts = {
        b"meta": text if head.metadata else None,
        b"icc ": head.icc,
        b"exif": head.exif,
        b"alph": alpha,
        b"pict": payload,
    }
    chunks = [(name, data) for name, data in parts.items() if data is not None]
    name = head.codec.encode()
    front = _HEADER.pack(
        MAGIC, VERSION, head.channels, head.depth, len(chunks), head.width, head.height, head.checksum, len(name)
    )
    front += name + b"".join(_ROW.pack(kind, len(data), zlib.crc32(data)) for kind, data in chunks)
    return front + struct.pack("<I", zlib.crc32(front)) + b"".join(data for _, data in chunks)


def read_container(data: bytes, file: str = "<sri>") -> Container:
    """Takes a file apart. It may be cut off inside the picture's payload.

    Raises:
        FormatError: it is no `.sri` file, is cut off before that, or contradicts itself.
    """
    if data[:4] != MAGIC:
        raise FormatError(file, f"an .sri file ({MAGIC!r})", repr(bytes(data[:4])), 0)
    if len(data) < _HEADER.size:
        raise FormatError(file, f"a header of {_HEADER.size} bytes", str(len(data)), len(data), _COPY)
    _, version, channels, depth, count, width, height, checksum, name_length = _HEADER.unpack_from(data)
    if version != VERSION:
        raise FormatError(file, f"version {VERSION}", str(version), 4, "update scenerep: the file is newer")
    table = _HEADER.size + name_length
    end = table + _ROW.size * count
    if len(data) < end + 4:
        raise FormatError(file, f"a head of {end + 4} bytes", f"{len(data)}", len(data), _COPY)
    if zlib.crc32(data[:end]) != struct.unpack_from("<I", data, end)[0]:
        raise FormatError(file, "a head with the right checksum", "another", end, _COPY)
    name = bytes(data[_HEADER.size : table])
    if not _NAME.fullmatch(name):
        raise FormatError(file, "the name of a codec", repr(name), _HEADER.size)
    if channels not in (1, 3):
        raise FormatError(file, "1 or 3 channels", str(channels), 5)
    if depth not in (8, 16):
        raise FormatError(file, "8 or 16 bits per sample", str(depth), 6)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise FormatError(file, f"up to {MAX_PIXELS} pixels", f"{width} x {height}", 8)
    chunks: dict[bytes, bytes] = {}
    at, complete, offset = end + 4, True, end + 4
    before = -1
    for i in range(count):
        row = table + _ROW.size * i
        kind, length, crc = _ROW.unpack_from(data, row)
        order = CHUNKS.index(kind) if kind in CHUNKS else -1
        if order <= before or not complete:
            raise FormatError(file, f"chunks of {CHUNKS}, each once and in this order", repr(kind), row)
        before, offset = order, at
        chunks[kind] = bytes(data[at : at + length])
        if len(chunks[kind]) < length:
            if kind != b"pict":
                raise FormatError(file, f"{length} bytes of chunk {kind!r}", str(len(chunks[kind])), at, _COPY)
            complete = False
        elif zlib.crc32(chunks[kind]) != crc:
            raise FormatError(file, f"the right checksum of chunk {kind!r}", "another", at, _COPY)
        at += length
    if b"pict" not in chunks:
        raise FormatError(file, "a picture", "none", table)
    if complete and at != len(data):
        raise FormatError(file, "the end of the file", f"{len(data) - at} more bytes", at)
    metadata = _metadata(chunks.get(b"meta"), file, end + 4)
    head = Head(
        name.decode(),
        width,
        height,
        channels,
        depth,
        b"alph" in chunks,
        checksum,
        metadata,
        chunks.get(b"icc "),
        chunks.get(b"exif"),
    )
    return Container(head, chunks[b"pict"], chunks.get(b"alph"), offset, complete)


def read_head(data: bytes, file: str = "<sri>") -> Head:
    """What a file says of its picture. Raises: FormatError."""
    return read_container(data, file).head


def _metadata(text: bytes | None, file: str, offset: int) -> dict[str, Any]:
    if text is None:
        return {}
    if len(text) > MAX_METADATA:
        raise FormatError(file, f"at most {MAX_METADATA} bytes of metadata", str(len(text)), offset)
    return read_metadata(text, offset, file)
