"""`.srz` files of other kinds than plain splats: metadata and named chunks. Byte table: docs/formats/srz.md.

Kind 1 (container.py) has layers and cells that a viewer fetches by themselves; the other kinds are read as a whole.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

from scenerep.coding.container import MAGIC, VERSION, check_version, is_srz, read_metadata, write_metadata
from scenerep.errors import FormatError, SceneRepError

_HEADER = struct.Struct("<8sHHIIIIBBBB")
_ROW = struct.Struct("<16sQII")
_ANTIALIASED = 1
_COPY = "get a fresh copy of the file"
_NAME = re.compile(rb"[a-z0-9][a-z0-9._-]{0,15}")
MAX_CHUNKS = 4096


@dataclass(frozen=True)
class ChunkedFile:
    """What stands in a file: `count` Gaussians once it is decoded, and bytes by name in the order of the file.

    offsets: Byte of the file at which each chunk starts, for messages; empty when it is about to be written.
    head_length: Bytes in front of the first chunk, likewise.
    """

    kind: int
    count: int
    sh_degree: int
    chunks: dict[str, bytes]
    antialiased: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    head_length: int = 0
    file: str = "<srz>"

    def chunk(self, name: str) -> bytes:
        """Raises: FormatError if there is none of this name."""
        if name not in self.chunks:
            raise FormatError(self.file, f"a chunk {name!r}", ", ".join(self.chunks) or "none", self.head_length, _COPY)
        return self.chunks[name]

    def fault(self, name: str, expected: str, found: str, at: int = 0) -> FormatError:
        """The error to raise when what stands `at` bytes into a chunk is not what it has to be."""
        return FormatError(self.file, expected, found, self.offsets.get(name, 0) + at, _COPY)


def kind_of(data: bytes, file: str = "<srz>") -> int:
    """The kind of representation that a file says it holds.

    Raises:
        FormatError: it is no `.srz` file of our version.
    """
    if not is_srz(data):
        raise FormatError(file, f"an .srz file ({MAGIC!r})", repr(bytes(data[:8])), 0)
    if len(data) < 12:
        raise FormatError(file, "a header", f"{len(data)} bytes", len(data), _COPY)
    version, kind = struct.unpack_from("<HH", data, 8)
    check_version(version, file)
    return kind


def write_chunked(content: ChunkedFile) -> bytes:
    """The file.

    Raises:
        SceneRepError: the metadata have no JSON form.
    """
    text = write_metadata(content.metadata)
    length = _HEADER.size + len(text) + _ROW.size * len(content.chunks) + 4
    table, offset = bytearray(), length
    for name, data in content.chunks.items():
        if not _NAME.fullmatch(name.encode()):
            raise SceneRepError(f"{name!r} cannot name a chunk", "use up to 16 of a-z, 0-9, dot, dash and underscore")
        table += _ROW.pack(name.encode(), offset, len(data), zlib.crc32(data))
        offset += len(data)
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        content.kind,
        length,
        len(text),
        content.count,
        len(content.chunks),
        1,
        content.sh_degree,
        0,
        _ANTIALIASED * content.antialiased,
    )
    front = header + text + bytes(table)
    return front + struct.pack("<I", zlib.crc32(front)) + b"".join(content.chunks.values())


def read_chunked(data: bytes, file: str = "<srz>") -> ChunkedFile:
    """What stands in a file of any kind but 1, checked; nothing is allocated by what it says.

    Raises:
        FormatError: the bytes are no such file, are cut off or broken.
    """
    kind = kind_of(data, file)
    if len(data) < _HEADER.size:
        raise FormatError(file, f"a header of {_HEADER.size} bytes", f"{len(data)}", len(data), _COPY)
    *_, length, text_length, count, chunk_count, layers, degree, zero, flags = _HEADER.unpack_from(data)
    expected = _HEADER.size + text_length + _ROW.size * chunk_count + 4
    if length != expected or chunk_count > MAX_CHUNKS:
        raise FormatError(file, f"a head of {expected} bytes by its parts", f"{length}", 12)
    if length > len(data):
        raise FormatError(file, f"{length} bytes of head", f"{len(data)}", len(data), _COPY)
    if zlib.crc32(data[: length - 4]) != struct.unpack_from("<I", data, length - 4)[0]:
        raise FormatError(file, "a head with the right checksum", "another", length - 4, _COPY)
    if layers != 1 or degree > 3 or zero or flags & ~_ANTIALIASED:
        raise FormatError(file, "one layer, SH degree 0 to 3, unused bits zero", f"{data[28:32].hex()}", 28)
    metadata = read_metadata(data[_HEADER.size : _HEADER.size + text_length], _HEADER.size, file)

    chunks: dict[str, bytes] = {}
    offsets: dict[str, int] = {}
    at, end = _HEADER.size + text_length, length
    for _ in range(chunk_count):
        padded, offset, size, checksum = _ROW.unpack_from(data, at)
        raw = padded.rstrip(b"\0")
        name = raw.decode("ascii", "replace")
        if not _NAME.fullmatch(raw) or name in chunks:
            raise FormatError(file, "chunks with names of their own", repr(padded), at)
        if offset != end or end + size > len(data):
            raise FormatError(file, f"a chunk at byte {end} within {len(data)} bytes", f"{offset}, {size} long", at)
        chunks[name], offsets[name] = data[offset : offset + size], offset
        if zlib.crc32(chunks[name]) != checksum:
            raise FormatError(file, f"the right checksum of chunk {name!r}", "another", offset, _COPY)
        at, end = at + _ROW.size, end + size
    if end != len(data):
        raise FormatError(file, "the end of the file", f"{len(data) - end} more bytes", end)
    return ChunkedFile(kind, count, degree, chunks, bool(flags & _ANTIALIASED), metadata, offsets, length, file)
