"""Quantised splat scenes as `.srz` bytes and back, and what each Gaussian costs.

`encode` and `decode` are the door; each cell of the scene goes through the native coder, cells in parallel.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from scenerep import __version__
from scenerep.coding.cells import decode_cell, encode_cell
from scenerep.coding.container import (
    GAUSSIANS_PER_BYTE,
    STREAMS,
    Chunk,
    Head,
    read_head,
    stream_count,
    write_container,
)
from scenerep.coding.order import coded_order
from scenerep.coding.quantised import QuantisedSplats
from scenerep.errors import FormatError
from scenerep.native import thread_count

COSTS = ("positions", "log_scales", "rotations", "opacities", "colours", "sh1", "sh2", "sh3")
"""Keys of `symbol_bits`."""

_CONVENTIONS = {
    "axes": "OpenCV: x right, y down, z forward",
    "colour": "display values, 0.5 + sum of SH basis times coefficient",
    "cut_off": "alpha below 1/255",
}
_T = TypeVar("_T")
_R = TypeVar("_R")


def encode(q: QuantisedSplats) -> bytes:
    """A whole `.srz` file. Decoding gives the same integers, sorted as `sort` does.

    Raises:
        SceneRepError: the metadata has no JSON form.
    """
    q, cells = sort(q)
    coded = _map(lambda cell: _encode_cell(q, cell, False), cells)
    chunks: list[tuple[Chunk, list[bytes]]] = []
    for number, (cell, (streams, _)) in enumerate(zip(cells, coded)):
        for layer, part in enumerate(cell):
            if len(part) == 0:
                continue
            place = q.positions[part]
            box = (tuple(place.min(axis=0).tolist()), tuple(place.max(axis=0).tolist()))
            parts = list(streams[layer])
            missing = -(-len(part) // GAUSSIANS_PER_BYTE) - sum(map(len, parts))
            parts[0] += bytes(max(0, missing))
            chunks.append((Chunk(layer, number, len(part), box, 0, (), ()), parts))
    chunks.sort(key=lambda chunk: (chunk[0].layer, chunk[0].cell))
    metadata = {"generator": f"scenerep {__version__}", "conventions": _CONVENTIONS} | q.metadata
    head = Head(q.quantiser, len(q), q.layer_count, tuple(c for c, _ in chunks), q.gains, q.antialiased, metadata)
    return write_container(head, [streams for _, streams in chunks])


def decode(
    data: bytes,
    *,
    max_layer: int | None = None,
    sh_degree: int | None = None,
    file: str = "<srz>",
) -> QuantisedSplats:
    """The integers of an `.srz` file.

    Args:
        max_layer: Leave out the layers above this one.
        sh_degree: Leave out (as zero) the SH bands above this one.
        file: Name for messages.

    A file that was cut off behind its first layer decodes to its complete layers, `decoded_layers` of them.

    Raises:
        FormatError: the bytes are no `.srz` file, are broken, or end before the first layer does.
    """
    head = read_head(data, file)
    degree = head.quantiser.sh_degree
    kept = stream_count(degree if sh_degree is None else min(degree, sh_degree))
    layers = _complete_layers(head, data, file)
    if max_layer is not None:
        layers = max(1, min(layers, max_layer + 1))
    chunks = [chunk for chunk in head.chunks if chunk.layer < layers]
    by_cell = [
        list(group) for _, group in itertools.groupby(sorted(chunks, key=_by_cell), key=lambda chunk: chunk.cell)
    ]
    assembled = _Assembled(head, chunks)

    def decode_one(cell: list[Chunk]) -> None:
        streams = [_streams(data, chunk, kept, file) for chunk in cell]
        counts = np.array([chunk.count for chunk in cell], np.int64)
        numbers = np.array([chunk.layer for chunk in cell], np.int64)
        positions, values, fault = decode_cell(streams, counts, numbers, head.quantiser.depth, degree)
        if fault is not None:
            layer, stream, message = fault
            place = cell[layer].place(stream)
            raise FormatError(file, f"a sound {STREAMS[stream]} stream", message, place, "get a fresh copy of the file")
        assembled.put(cell, positions, values)

    _map(decode_one, by_cell)
    return assembled.scene(layers)


def stream_bits(q: QuantisedSplats) -> dict[str, int]:
    """Bits of each stream, and of the `head`; together the length of the file."""
    return bits_of_file(encode(q))


def bits_of_file(data: bytes, file: str = "<srz>") -> dict[str, int]:
    """Bits of each stream of a file by its chunk table, and of the `head`.

    Raises:
        FormatError: the head of the file is broken.
    """
    head = read_head(data, file)
    bits = dict.fromkeys(STREAMS[: stream_count(head.quantiser.sh_degree)], 0)
    for chunk in head.chunks:
        for name, length in zip(bits, chunk.lengths):
            bits[name] += 8 * length
    first = head.chunks[0].offset if head.chunks else len(data)
    return {"head": 8 * first} | bits


def symbol_bits(q: QuantisedSplats) -> dict[str, np.ndarray]:
    """What each Gaussian costs in the adaptive coder, in the order of `q`: float32 [n] for each of `COSTS`.

    These are the models' own -log2 of the coded probabilities; their sum is the file's size to about 0.1 %, less the
    head. The cost of an octree node is shared evenly by the points below it.
    """
    order, _ = coded_order(q.positions, q.layers)
    ordered, cells = sort(q)
    bits = np.zeros((len(q), len(COSTS)), np.float32)
    for cell, (_, costs) in zip(cells, _map(lambda cell: _encode_cell(ordered, cell, True), cells)):
        bits[np.concatenate(cell)] = costs
    back = np.empty_like(bits)
    back[order] = bits
    return {name: np.ascontiguousarray(back[:, i]) for i, name in enumerate(COSTS)}


def sort(q: QuantisedSplats) -> tuple[QuantisedSplats, list[list[np.ndarray]]]:
    """The scene in coded order, and the indices of each cell's layers in it: cells[cell][layer]."""
    order, cell = coded_order(q.positions, q.layers)
    q = q.select(order)
    cells = []
    for number in range(int(cell.max()) + 1 if len(cell) else 0):
        inside = np.flatnonzero(cell == number)
        cells.append([inside[q.layers[inside] == layer] for layer in range(q.layer_count)])
    return q, cells


def values_of(q: QuantisedSplats, index: np.ndarray) -> np.ndarray:
    """int32 [m, 10 + 3 k]: what the attribute streams code, component after component."""
    sh = q.sh[index].reshape(len(index), -1)
    parts = [q.log_scales[index], q.rotations[index], q.opacities[index, None], q.colours[index], sh]
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def _encode_cell(q: QuantisedSplats, cell: list[np.ndarray], costs: bool) -> tuple[list[list[bytes]], np.ndarray]:
    index = np.concatenate(cell)
    counts = np.array([len(part) for part in cell], np.int64)
    return encode_cell(np.ascontiguousarray(q.positions[index]), values_of(q, index), counts, q.quantiser.depth, costs)


def _by_cell(chunk: Chunk) -> tuple[int, int]:
    return chunk.cell, chunk.layer


def _complete_layers(head: Head, data: bytes, file: str) -> int:
    for chunk in head.chunks:
        if chunk.end > len(data):
            if chunk.layer == head.chunks[0].layer:
                where = f"byte {len(data)}"
                raise FormatError(file, "at least one whole layer", f"the end of the file at {where}", len(data))
            return chunk.layer
    if head.chunks and head.chunks[-1].end != len(data):
        raise FormatError(file, "the end of the file", f"{len(data) - head.chunks[-1].end} more bytes", len(data))
    return head.layer_count


def _streams(data: bytes, chunk: Chunk, kept: int, file: str) -> list[bytes]:
    streams = []
    at = chunk.offset
    for i in range(kept):
        stream = data[at : at + chunk.lengths[i]]
        if zlib.crc32(stream) != chunk.checksums[i]:
            raise FormatError(
                file, f"the right checksum of a {STREAMS[i]} stream", "another", at, "get a fresh copy of the file"
            )
        streams.append(stream)
        at += chunk.lengths[i]
    return streams


class _Assembled:
    """The scene in coded order (layer, cell, Morton code), filled by the threads that decode cells."""

    def __init__(self, head: Head, chunks: list[Chunk]) -> None:
        self._head, self._chunks = head, sorted(chunks, key=lambda chunk: (chunk.layer, chunk.cell))
        counts = [chunk.count for chunk in self._chunks]
        starts = [0, *itertools.accumulate(counts)]
        self._starts = {(chunk.layer, chunk.cell): start for chunk, start in zip(self._chunks, starts)}
        # The counts were checked against the bytes; memory is taken when a cell has been decoded.
        n, k = starts[-1], head.quantiser.coefficients
        self._parts = {
            "positions": np.empty((n, 3), np.int32),
            "log_scales": np.empty((n, 3), np.int32),
            "rotations": np.empty((n, 3), np.int32),
            "opacities": np.empty(n, np.int32),
            "colours": np.empty((n, 3), np.int32),
            "sh": np.empty((n, k, 3), np.int32),
        }

    def put(self, cell: list[Chunk], positions: np.ndarray, values: np.ndarray) -> None:
        """What a cell holds, by layer, then by Morton code."""
        at = 0
        for chunk in cell:
            start = self._starts[chunk.layer, chunk.cell]
            source, target = slice(at, at + chunk.count), slice(start, start + chunk.count)
            parts = self._parts
            parts["positions"][target] = positions[source]
            parts["log_scales"][target] = values[source, 0:3]
            parts["rotations"][target] = values[source, 3:6]
            parts["opacities"][target] = values[source, 6]
            parts["colours"][target] = values[source, 7:10]
            parts["sh"][target] = values[source, 10:].reshape(parts["sh"][target].shape)
            at += chunk.count

    def scene(self, layers: int) -> QuantisedSplats:
        head = self._head
        numbers = np.array([chunk.layer for chunk in self._chunks], np.uint8)
        return QuantisedSplats(
            **self._parts,
            quantiser=head.quantiser,
            layers=np.repeat(numbers, [chunk.count for chunk in self._chunks]),
            layer_count=head.layer_count,
            decoded_layers=layers,
            gains=head.gains,
            antialiased=head.antialiased,
            metadata=dict(head.metadata or {}),
        )


def _map(function: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    items = list(items)
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(len(items), thread_count())) as pool:
        return list(pool.map(function, items))
