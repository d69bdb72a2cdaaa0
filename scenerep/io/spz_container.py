"""The outside of an SPZ file: header, compression, and the six byte streams of its attributes.

Streams, in order: positions 9 n (version 1: 6 n), opacities n, colours 3 n, log scales 3 n, rotations 4 n (versions 1
and 2: 3 n), SH 3 ((degree + 1)^2 - 1) n.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass

import zstandard

from scenerep.errors import FormatError
from scenerep.io.bounds import check_expansion, require_bytes

MAGIC = b"NGSP"
_HEADER = struct.Struct("<4sIIBBBB")  # magic, version, count, SH degree, fractional bits, flags, reserved or streams
_HEADER_4 = struct.Struct("<4sIIBBBBI12x")  # the same, then the offset of the table of contents
_ENTRY = struct.Struct("<QQ")  # packed and unpacked bytes of a stream
_NAMES = ("positions", "opacities", "colours", "scales", "rotations", "spherical harmonics")
_ZSTD_LEVEL = 12
_MAX_EXTENSIONS = 1 << 24  # bytes behind the attributes that are looked through for the checksum
_MAX_WINDOW = 1 << 27  # what the zstd library itself allows a decoder by default


@dataclass(frozen=True)
class Packed:
    """version 1 to 4; count n; sh_degree 0 to 4; positions are multiples of 2^-fractional_bits; six streams."""

    version: int
    count: int
    sh_degree: int
    fractional_bits: int
    flags: int
    streams: tuple[bytes, ...]


def pack_gzip(packed: Packed) -> bytes:
    """The file of version 3."""
    header = _HEADER.pack(
        MAGIC, packed.version, packed.count, packed.sh_degree, packed.fractional_bits, packed.flags, 0
    )
    return gzip.compress(header + b"".join(packed.streams), compresslevel=6, mtime=0)


def pack_streams(packed: Packed) -> bytes:
    """The file of version 4. An empty SH stream is left out, as other writers do."""
    streams = [stream for i, stream in enumerate(packed.streams) if stream or i < 5]
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    frames = [compressor.compress(stream) for stream in streams]
    header = _HEADER_4.pack(
        MAGIC, 4, packed.count, packed.sh_degree, packed.fractional_bits, packed.flags, len(frames), _HEADER_4.size
    )
    table = b"".join(_ENTRY.pack(len(frame), len(stream)) for frame, stream in zip(frames, streams))
    return b"".join([header, table, *frames])


def unpack(data: bytes, file: str) -> Packed:
    """Header and streams of a file of any version.

    Raises:
        FormatError: if it is none, or asks for more than its bytes can hold.
    """
    if data.startswith(MAGIC):
        require_bytes(data, 0, _HEADER.size, "the header", file)
        if struct.unpack_from("<I", data, 4)[0] >= 4:
            return _unpack_streams(data, file)
        head, body = data[: _HEADER.size], data[_HEADER.size :]
        sizes, packed = _legacy_header(head, len(data), file)
        require_bytes(data, _HEADER.size, sum(sizes), "the attributes", file)
    else:
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        head = _inflate(inflater, data, _HEADER.size, file)
        sizes, packed = _legacy_header(head, len(data), file)
        body = _inflate(inflater, inflater.unconsumed_tail, sum(sizes), file)
        _finish(inflater, file)
    return Packed(*packed, _split(body, sizes))


def _inflate(inflater: zlib._Decompress, data: bytes, size: int, file: str) -> bytes:
    if size == 0:  # zero would mean "without limit"
        return b""
    try:
        out = inflater.decompress(data, size)
        # zlib may stop short of the limit at a block's end while it still holds input
        while len(out) < size and inflater.unconsumed_tail:
            more = inflater.decompress(inflater.unconsumed_tail, size - len(out))
            if not more:
                break
            out += more
    except zlib.error as error:
        raise FormatError(file, "a gzip stream", str(error), 0) from None
    if len(out) < size:
        raise FormatError(file, f"{size} unpacked bytes", f"{len(out)}", 0, "the file may be cut off")
    return out


def _finish(inflater: zlib._Decompress, file: str) -> None:
    """Go to the end of the stream, behind extensions, so that its checksum is compared."""
    skipped = 0
    try:
        while not inflater.eof and skipped < _MAX_EXTENSIONS:
            held = inflater.unconsumed_tail
            chunk = inflater.decompress(held, 1 << 16)
            skipped += len(chunk)
            if not chunk and not inflater.eof and len(inflater.unconsumed_tail) == len(held):
                hint = "the file may be cut off"
                raise FormatError(file, "the end of the gzip stream", "the end of the file", 0, hint)
    except zlib.error as error:
        raise FormatError(file, "a gzip stream", str(error), 0) from None


def _legacy_header(head: bytes, encoded: int, file: str) -> tuple[list[int], tuple[int, int, int, int, int]]:
    """Sizes of the six streams and the header's fields, of versions 1 to 3."""
    magic, version, count, degree, bits, flags, _ = _HEADER.unpack(head)
    if magic != MAGIC:
        raise FormatError(file, "the mark NGSP", repr(magic), 0)
    if not 1 <= version <= 3:
        raise FormatError(file, "SPZ version 1 to 4", str(version), 4)
    return _sizes(version, count, degree, bits, encoded, file), (version, count, degree, bits, flags)


def _sizes(version: int, count: int, degree: int, bits: int, encoded: int, file: str) -> list[int]:
    if degree > 4:
        raise FormatError(file, "SH degree 0 to 4", str(degree), 12)
    if bits > 23:
        raise FormatError(file, "0 to 23 fractional bits", str(bits), 13)
    coefficients = (degree + 1) ** 2 - 1
    widths = [6 if version == 1 else 9, 1, 3, 3, 3 if version < 3 else 4, 3 * coefficients]
    # Decoded as float32; the unpacked bytes are fewer.
    check_expansion(count * 4 * (14 + 3 * coefficients), encoded, file, 8)
    return [width * count for width in widths]


def _split(body: bytes, sizes: list[int]) -> tuple[bytes, ...]:
    streams, start = [], 0
    for size in sizes:
        streams.append(body[start : start + size])
        start += size
    return tuple(streams)


def _unpack_streams(data: bytes, file: str) -> Packed:
    require_bytes(data, 0, _HEADER_4.size, "the header of version 4", file)
    _, version, count, degree, bits, flags, stream_count, table = _HEADER_4.unpack_from(data)
    if version != 4:
        raise FormatError(file, "SPZ version 1 to 4", str(version), 4)
    sizes = _sizes(version, count, degree, bits, len(data), file)
    wanted = 6 if degree else 5
    if stream_count < wanted or table < _HEADER_4.size:
        found = f"{stream_count} streams, their table at byte {table}"
        raise FormatError(file, f"{wanted} streams with a table behind the header", found, 15)
    require_bytes(data, table, stream_count * _ENTRY.size, "the table of streams", file)
    start = table + stream_count * _ENTRY.size
    streams = []
    for i, (name, size) in enumerate(zip(_NAMES[:wanted], sizes)):
        packed_size, unpacked_size = _ENTRY.unpack_from(data, table + i * _ENTRY.size)
        if unpacked_size != size:
            raise FormatError(
                file, f"{size} bytes of {name}", f"{unpacked_size} announced", table + i * _ENTRY.size + 8
            )
        require_bytes(data, start, packed_size, name, file)
        streams.append(_decompress(data[start : start + packed_size], size, name, file, start))
        start += packed_size
    return Packed(version, count, degree, bits, flags, (*streams, b"")[:6])


def _decompress(frame: bytes, size: int, name: str, file: str, offset: int) -> bytes:
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(frame)
        out = reader.read(size + 1)  # one more than announced shows a frame that is longer
        while len(out) <= size and (more := reader.read(size + 1 - len(out))):
            out += more
    except zstandard.ZstdError as error:
        raise FormatError(file, f"a zstd stream of {name}", str(error), offset) from None
    if len(out) != size:
        raise FormatError(file, f"{size} bytes of {name}", "more" if len(out) > size else f"{len(out)}", offset)
    return out
