"""The `.srz` container: header, metadata and chunk table, to bytes and back. Byte table: docs/formats/srz.md.

All numbers are little-endian. A chunk is one cell of one layer: a few independent streams, one after the other.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.coding.order import CELL_SIZE
from scenerep.coding.quantised import MAX_LAYERS, LayerGain
from scenerep.coding.quantiser import MAX_DEPTH, Quantiser
from scenerep.errors import FormatError, SceneRepError

MAGIC = b"\x89SRZ\r\n\x1a\n"
VERSION = 3
KIND_SPLATS = 1
STREAMS = ("geometry", "shape", "opacity", "colour", "sh1", "sh2", "sh3")
"""The streams of a chunk of splats, in their order; the last ones only up to the SH degree."""

_HEADER = struct.Struct("<8sHHIIIIBBBB3d3df4x")
_ANTIALIASED, _CANONICAL, _GAINS = 1, 2, 4
_ENTRY = struct.Struct("<IHBB6IQ")
_STREAM = struct.Struct("<II")
_COPY = "get a fresh copy of the file"

# A chunk takes at least a byte for 8 Gaussians (the encoder fills up), so that a small file cannot ask for much memory.
GAUSSIANS_PER_BYTE = 8


@dataclass(frozen=True)
class Chunk:
    """A row of the chunk table."""

    layer: int
    cell: int
    count: int
    box: tuple[tuple[int, int, int], tuple[int, int, int]]
    """Smallest and largest grid coordinates of the centres."""
    offset: int
    """Byte of the file at which the first stream starts."""
    lengths: tuple[int, ...]
    """Bytes of each stream."""
    checksums: tuple[int, ...]
    """CRC-32 of each stream."""

    @property
    def end(self) -> int:
        return self.offset + sum(self.lengths)

    def place(self, stream: int) -> int:
        """Byte of the file at which a stream starts."""
        return self.offset + sum(self.lengths[:stream])


@dataclass(frozen=True)
class Head:
    """Everything in front of the chunks."""

    quantiser: Quantiser
    count: int
    layer_count: int
    chunks: tuple[Chunk, ...]
    gains: tuple[LayerGain, ...] = ()
    antialiased: bool = False
    metadata: dict[str, Any] | None = None


def is_srz(data: bytes) -> bool:
    """Whether the bytes begin like an `.srz` file."""
    return data.startswith(MAGIC)


def stream_count(sh_degree: int) -> int:
    return 4 + sh_degree


def write_container(head: Head, payload: Sequence[Sequence[bytes]]) -> bytes:
    """The file: `payload` has the streams of each chunk of `head`, whose offsets and lengths are filled in here."""
    q = head.quantiser
    text = write_metadata(head.metadata or {})
    steps = [q.position, q.log_scale, q.rotation, q.opacity, q.colour_luma, q.colour_chroma]
    steps += [step for pair in zip(q.sh_luma, q.sh_chroma) for step in pair]
    steps += [value for gain in head.gains for value in (gain.log_scale, gain.opacity)]
    body = struct.pack(f"<{len(steps)}f", *steps) + text
    entry = _ENTRY.size + _STREAM.size * stream_count(q.sh_degree)
    offset = _HEADER.size + len(body) + entry * len(payload) + 4
    table = bytearray()
    for chunk, streams in zip(head.chunks, payload):
        table += _ENTRY.pack(chunk.count, chunk.cell, chunk.layer, 0, *chunk.box[0], *chunk.box[1], offset)
        for stream in streams:
            table += _STREAM.pack(len(stream), zlib.crc32(stream))
        offset += sum(map(len, streams))
    flags = _ANTIALIASED * head.antialiased | _CANONICAL * q.canonical | _GAINS * bool(head.gains)
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        KIND_SPLATS,
        _HEADER.size + len(body) + len(table) + 4,
        len(text),
        head.count,
        len(payload),
        head.layer_count,
        q.sh_degree,
        q.depth,
        flags,
        *q.origin,
        *q.centre,
        q.radius,
    )
    front = header + body + bytes(table)
    return front + struct.pack("<I", zlib.crc32(front)) + b"".join(b"".join(streams) for streams in payload)


def read_head(data: bytes, file: str = "<srz>") -> Head:
    """What stands in front of the chunks, checked.

    The chunks themselves may be missing: `data` may end anywhere behind the table.

    Raises:
        FormatError: it is no `.srz` file of splats, is cut off inside the head, or contradicts itself.
    """
    if not is_srz(data):
        raise FormatError(file, f"an .srz file ({MAGIC!r})", repr(bytes(data[:8])), 0)
    if len(data) < _HEADER.size:
        raise FormatError(file, f"a header of {_HEADER.size} bytes", f"{len(data)}", len(data), _COPY)
    _, version, kind, length, text_length, count, chunk_count, layer_count, degree, depth, flags, *rest = (
        _HEADER.unpack_from(data)
    )
    check_version(version, file)
    if kind != KIND_SPLATS:
        raise FormatError(file, f"kind {KIND_SPLATS} (splats)", str(kind), 10, "update scenerep: the file is newer")
    streams = stream_count(degree)
    floats = 6 + 2 * degree + (2 * layer_count if flags & _GAINS else 0)
    entry = _ENTRY.size + _STREAM.size * streams
    expected = _HEADER.size + 4 * floats + text_length + entry * chunk_count + 4
    if degree > 3:
        raise FormatError(file, "SH degree 0 to 3", str(degree), 29)
    if length != expected:
        raise FormatError(file, f"a head of {expected} bytes by its parts", f"{length}", 12)
    if length > len(data):
        raise FormatError(file, f"{length} bytes of head", f"{len(data)}", len(data), _COPY)
    if zlib.crc32(data[: length - 4]) != struct.unpack_from("<I", data, length - 4)[0]:
        raise FormatError(file, "a head with the right checksum", "another", length - 4, _COPY)
    if not 1 <= layer_count <= MAX_LAYERS:
        raise FormatError(file, f"1 to {MAX_LAYERS} layers", str(layer_count), 28)
    if not 1 <= depth <= MAX_DEPTH:
        raise FormatError(file, f"an octree depth of 1 to {MAX_DEPTH}", str(depth), 30)
    if flags & ~7 or any(data[_HEADER.size - 4 : _HEADER.size]):
        raise FormatError(file, "unused bits to be zero", f"flags {flags:#x}", 31)

    values = struct.unpack_from(f"<{floats}f", data, _HEADER.size)
    sh = values[6 : 6 + 2 * degree]
    pairs = values[6 + 2 * degree :]
    if not np.all(np.isfinite(pairs)):
        raise FormatError(file, "finite gains", "others", _HEADER.size + 4 * (6 + 2 * degree))
    try:
        quantiser = Quantiser(
            origin=(rest[0], rest[1], rest[2]),
            position=values[0],
            depth=depth,
            log_scale=values[1],
            rotation=values[2],
            opacity=values[3],
            colour_luma=values[4],
            colour_chroma=values[5],
            sh_luma=sh[0::2],
            sh_chroma=sh[1::2],
            canonical=bool(flags & _CANONICAL),
            centre=(rest[3], rest[4], rest[5]),
            radius=rest[6],
        )
    except SceneRepError as error:
        raise FormatError(file, "a usable quantiser", error.message, _HEADER.size) from error
    start = _HEADER.size + 4 * floats
    metadata = read_metadata(data[start : start + text_length], start, file)
    chunks = _read_table(data, start + text_length, chunk_count, streams, length, file)
    _check_table(chunks, count, layer_count, depth, start + text_length, entry, file)
    gains = tuple(LayerGain(*pair) for pair in zip(pairs[0::2], pairs[1::2]))
    return Head(quantiser, count, layer_count, chunks, gains, bool(flags & _ANTIALIASED), metadata)


def write_metadata(metadata: dict[str, Any]) -> bytes:
    """JSON. Raises: SceneRepError if the metadata have no such form."""

    def plain(value: Any) -> Any:
        if isinstance(value, (np.ndarray, np.generic)):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} has no JSON form")

    try:
        return json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=plain).encode()
    except (TypeError, ValueError) as error:
        raise SceneRepError(f"the metadata cannot be written as JSON: {error}", "use plain values only") from error


def check_version(version: int, file: str) -> None:
    """
    Raises:
        FormatError: a file of that version is not read.
    """
    if version != VERSION:
        older = version < VERSION
        hint = "compress the scene again: the file is older" if older else "update scenerep: the file is newer"
        raise FormatError(file, f"version {VERSION}", str(version), 8, hint)


def read_metadata(text: bytes, offset: int, file: str) -> dict[str, Any]:
    """The inverse, of bytes that stand at an offset. Raises: FormatError."""
    try:
        metadata = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(file, "metadata in JSON", f"{type(error).__name__}: {error}", offset) from error
    if not isinstance(metadata, dict):
        raise FormatError(file, "metadata to be a JSON object", type(metadata).__name__, offset)
    return metadata


def _read_table(data: bytes, at: int, count: int, streams: int, first: int, file: str) -> tuple[Chunk, ...]:
    chunks = []
    for _ in range(count):
        number, cell, layer, zero, *box, offset = _ENTRY.unpack_from(data, at)
        pairs = [_STREAM.unpack_from(data, at + _ENTRY.size + _STREAM.size * i) for i in range(streams)]
        lengths, checksums = zip(*pairs)
        if zero or offset != first:
            raise FormatError(file, f"a chunk at byte {first}", f"{offset}", at)
        chunks.append(
            Chunk(layer, cell, number, ((box[0], box[1], box[2]), (box[3], box[4], box[5])), offset, lengths, checksums)
        )
        first += sum(lengths)
        at += _ENTRY.size + _STREAM.size * streams
    return tuple(chunks)


def _check_table(
    chunks: tuple[Chunk, ...], count: int, layer_count: int, depth: int, table: int, entry: int, file: str
) -> None:
    """Counts, layers and boxes of the chunks, before anything is allocated by them."""
    before = (0, -1)
    per_cell: Counter[int] = Counter()
    for i, chunk in enumerate(chunks):
        at = table + entry * i
        if not 1 <= chunk.count <= min(CELL_SIZE, GAUSSIANS_PER_BYTE * sum(chunk.lengths)):
            raise FormatError(file, f"1 to {CELL_SIZE} Gaussians that fit into the chunk", str(chunk.count), at)
        if (chunk.layer, chunk.cell) <= before or chunk.layer >= layer_count:
            raise FormatError(file, "chunks by ascending layer and cell", f"{chunk.layer}, {chunk.cell}", at + 4)
        before = (chunk.layer, chunk.cell)
        low, high = chunk.box
        if any(not a <= b < 1 << depth for a, b in zip(low, high)):
            raise FormatError(file, "a bounding box on the grid", f"{low} to {high}", at + 8)
        per_cell[chunk.cell] += chunk.count
    if sum(chunk.count for chunk in chunks) != count:
        raise FormatError(file, f"chunks with {count} Gaussians", str(sum(chunk.count for chunk in chunks)), 20)
    if per_cell and (most := max(per_cell.values())) > CELL_SIZE:
        raise FormatError(file, f"cells of at most {CELL_SIZE} Gaussians in all layers", str(most), table)
