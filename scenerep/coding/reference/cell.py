"""A cell of a splat scene to byte streams and back; arguments as in scenerep/coding/cells.py."""

from __future__ import annotations

import numpy as np

from scenerep.coding.reference.attributes import AttributeCoder, Cell, find_neighbours
from scenerep.coding.reference.octree import OctreeModels, code_octree, from_morton, morton
from scenerep.coding.reference.range_coder import CodingError, RangeDecoder, RangeEncoder

_BANDS = {0: 0, 3: 1, 8: 2, 15: 3}


def encode_cell(positions: np.ndarray, values: np.ndarray, counts: np.ndarray, depth: int) -> list[list[bytes]]:
    """The streams of each layer."""
    cell = Cell(depth, _BANDS[(values.shape[1] - 10) // 3])
    cell.codes = [morton((x, y, z)) for x, y, z in positions.tolist()]
    cell.values = values.tolist()
    whole = cell.codes
    begin = 0
    for layer, count in enumerate(counts.tolist()):
        cell.layers += [layer] * count
        cell.codes = whole[: begin + count]  # what the decoder knows at this layer
        find_neighbours(cell, begin)
        begin += count
    attributes, octree = AttributeCoder(cell), OctreeModels()
    attributes.choose_setups()
    streams: list[list[bytes]] = []
    begin = 0
    for count in counts.tolist():
        end = begin + count
        geometry = RangeEncoder()
        code_octree(geometry, octree, depth, sorted(whole[:begin]), count, whole[begin:end])
        row = [geometry.finish()]
        for stream in range(1, 4 + cell.bands):
            coder = RangeEncoder()
            attributes.code(coder, stream, begin, end)
            row.append(coder.finish())
        streams.append(row)
        begin = end
    return streams


def decode_cell(
    streams: list[list[bytes]], counts: np.ndarray, layers: np.ndarray, depth: int, sh_degree: int
) -> tuple[np.ndarray, np.ndarray, tuple[int, int, str] | None]:
    """Positions and values of the chunks given, or what is broken: (chunk, stream, message)."""
    cell = Cell(depth, sh_degree)
    attributes, octree = AttributeCoder(cell), OctreeModels()
    for chunk, (parts, count, layer) in enumerate(zip(streams, counts.tolist(), layers.tolist())):
        begin, stream = len(cell.codes), 0
        try:
            geometry = RangeDecoder(parts[0])
            cell.codes = cell.codes + code_octree(geometry, octree, depth, sorted(cell.codes), count, [])
            cell.layers += [layer] * count
            cell.values += [[0] * cell.components for _ in range(count)]
            find_neighbours(cell, begin)
            for stream in range(1, len(parts)):
                attributes.code(RangeDecoder(parts[stream]), stream, begin, begin + count)
        except CodingError as error:
            none = np.empty(0, np.int32)
            return none, none, (chunk, stream, str(error))
    positions = np.array([from_morton(code) for code in cell.codes], np.int32).reshape(-1, 3)
    return positions, np.array(cell.values, np.int32).reshape(-1, cell.components), None
