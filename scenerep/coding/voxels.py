"""Kinds 4 and 5 of `.srz`: voxel fields. Byte table: docs/formats/srz.md.

A level of a grid is its occupied vertices (an octree, in cells of the Morton curve), and its channels in groups
(density, base colour, the rest), each a Haar transform over the vertices (haar_tree.py) whose coefficients are coded
stage by stage in contexts of what is known: the size of the parent's coefficient, and for colours how dense the node
is.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.coding.cells import decode_cell, encode_cell
from scenerep.coding.chunked import ChunkedFile, write_chunked
from scenerep.coding.conditional import ConditionalError, decode_conditional, encode_conditional
from scenerep.coding.haar_tree import UNITS, Stage, backward, forward, stages
from scenerep.coding.kinds import KIND_MIP_VOXELS, KIND_VOXELS, Decoded
from scenerep.coding.order import CELL_SIZE, morton_codes
from scenerep.coding.symbols import decode_rows, encode_rows
from scenerep.errors import SceneRepError
from scenerep.scenes import MipVoxels, Voxels

_GRID = struct.Struct("<HHHBBf6d3f")
_COUNT = struct.Struct("<II")
_MAX_SIDE = 4096
_SIZES, _DENSITIES = 8, 8
_CLASSES = _SIZES * _DENSITIES
_NETWORK_STEP = 2.0**-10
GROUPS = ("density", "colour", "detail")


@dataclass(frozen=True)
class VoxelSteps:
    """Steps of the quantisation, in the units of the raw values: of density, base colour, and SH or features."""

    density: float
    colour: float
    detail: float

    def by_group(self) -> dict[str, float]:
        """As float32, which is what stands in the file."""
        return {name: float(np.float32(getattr(self, name))) for name in GROUPS}


@dataclass(frozen=True)
class Importance:
    """float [n] for each group: how much a squared error of a vertex's values costs."""

    density: np.ndarray
    colour: np.ndarray
    detail: np.ndarray


def columns(width: int) -> dict[str, slice]:
    """Which columns of values [n, width] a group has; a group without columns is left out."""
    groups = {"density": slice(0, 1), "colour": slice(1, 4), "detail": slice(4, width)}
    return {name: part for name, part in groups.items() if part.stop > part.start}


def encode_voxels(
    scene: Voxels, steps: VoxelSteps, importance: Importance, lam: float, metadata: dict[str, Any] | None = None
) -> bytes:
    """The file of a scene.

    Args:
        lam: What a bit is worth, in the units of the importance times squared raw values.
    """
    chunks = {"grid": _grid(scene, steps, scene.sh_degree)}
    chunks |= _level(0, scene.size, scene.index, scene.values, steps, importance, lam)
    return write_chunked(ChunkedFile(KIND_VOXELS, len(scene), scene.sh_degree, chunks, False, metadata or {}))


def encode_mip_voxels(
    scene: MipVoxels,
    steps: VoxelSteps,
    importance: tuple[Importance, ...],
    lam: float,
    metadata: dict[str, Any] | None = None,
) -> bytes:
    """The file of a pyramid and its network; arguments as in `encode_voxels`, importance for each level."""
    chunks = {"grid": _grid(scene, steps, len(scene.indices))}
    for k, (index, values) in enumerate(zip(scene.indices, scene.values, strict=True)):
        size = _halved(scene.size, k)
        chunks |= _level(k, size, index, values, steps, importance[k], lam)
    weights = np.concatenate([scene.network[name].reshape(-1) for name, _ in _network_shapes()])
    chunks["network"] = encode_rows(np.round(weights / _NETWORK_STEP).astype(np.int32)[:, None])
    return write_chunked(ChunkedFile(KIND_MIP_VOXELS, len(scene), 0, chunks, False, metadata or {}))


def decode_voxels(content: ChunkedFile) -> Decoded:
    """Raises: FormatError for a chunk that is missing or broken."""
    size, contracted, degree, step, box, steps = _read_grid(content)
    if degree != content.sh_degree or degree > 1:
        raise content.fault("grid", "SH of the degree in the header, 0 or 1", str(degree), 7)
    digest = hashlib.sha256(content.chunk("grid"))
    index, values = _read_level(content, 0, size, 13 if degree else 4, steps, digest, content.count)
    scene = Voxels(size, index, values, box, contracted, step, content.metadata)
    return Decoded(scene, digest.hexdigest())


def decode_mip_voxels(content: ChunkedFile) -> Decoded:
    """Raises: FormatError for a chunk that is missing or broken."""
    size, contracted, levels, step, box, steps = _read_grid(content)
    if not 1 <= levels <= 8 or any((n - 1) % (1 << (levels - 1)) for n in size):
        raise content.fault("grid", "a size that can be halved for each level", f"{levels} levels of {size}", 7)
    digest = hashlib.sha256(content.chunk("grid"))
    found = [_read_level(content, k, _halved(size, k), 8, steps, digest, content.count) for k in range(levels)]
    shapes = _network_shapes()
    wanted = sum(int(np.prod(shape)) for _, shape in shapes)
    rows, fault = decode_rows(content.chunk("network"), wanted, 1)
    if fault is not None:
        raise content.fault("network", f"{wanted} weights", fault)
    digest.update(rows.astype("<i4").tobytes())
    flat = (rows[:, 0] * _NETWORK_STEP).astype(np.float32)
    network, at = {}, 0
    for name, shape in shapes:
        count = int(np.prod(shape))
        network[name] = flat[at : at + count].reshape(shape)
        at += count
    indices, values = (tuple(part) for part in zip(*found, strict=True))
    scene = MipVoxels(size, indices, values, network, box, contracted, step, content.metadata)
    return Decoded(scene, digest.hexdigest())


# --- the grid


def _grid(scene: Voxels | MipVoxels, steps: VoxelSteps, degree_or_levels: int) -> bytes:
    if max(scene.size) > _MAX_SIDE:
        raise SceneRepError(f"a grid of {scene.size} vertices cannot be written", f"at most {_MAX_SIDE} a side")
    sizes = steps.by_group().values()
    box = np.asarray(scene.box, np.float64).reshape(-1)
    return _GRID.pack(*scene.size, scene.contracted, degree_or_levels, scene.step, *box, *sizes)


def _read_grid(content: ChunkedFile) -> tuple[tuple[int, int, int], bool, int, float, np.ndarray, dict[str, float]]:
    data = content.chunk("grid")
    if len(data) != _GRID.size:
        raise content.fault("grid", f"{_GRID.size} bytes", f"{len(data)}")
    nx, ny, nz, contracted, number, step, *rest = _GRID.unpack(data)
    if not 2 <= min(nx, ny, nz) <= max(nx, ny, nz) <= _MAX_SIDE or nx * ny * nz >= 1 << 31:
        raise content.fault("grid", f"2 to {_MAX_SIDE} vertices a side, below 2^31", f"{nx}, {ny}, {nz}")
    if contracted > 1 or not 0.01 <= step <= 16:  # nan too
        raise content.fault("grid", "a step of 0.01 to 16 voxels", f"{step}", 6)
    box = np.array(rest[:6]).reshape(2, 3)
    if not (np.isfinite(box).all() and np.abs(box).max() < 1e9 and (box[1] - box[0] > 1e-9).all()):
        raise content.fault("grid", "two corners, the lower one first", f"{box.tolist()}", 12)
    steps: dict[str, float] = dict(zip(GROUPS, rest[6:], strict=True))
    if not all(2.0**-40 <= s <= 2.0**20 for s in steps.values()):
        raise content.fault("grid", "positive steps", f"{rest[6:]}", 60)
    return (nx, ny, nz), bool(contracted), number, step, box, steps


def _halved(size: tuple[int, int, int], times: int) -> tuple[int, int, int]:
    nx, ny, nz = (((n - 1) >> times) + 1 for n in size)
    return nx, ny, nz


def _network_shapes() -> list[tuple[str, tuple[int, ...]]]:
    """As in voxels/shading.py."""
    return [("w1", (34, 16)), ("b1", (16,)), ("w2", (16, 16)), ("b2", (16,)), ("w3", (16, 3)), ("b3", (3,))]


# --- a level: positions


def _places(size: tuple[int, int, int], index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(places [n, 3], Morton codes, both sorted by code; the order)."""
    nx, ny, _ = size
    layer, rest = np.divmod(index, nx * ny)
    row, column = np.divmod(rest, nx)
    places = np.stack([column, row, layer], axis=1)
    codes = morton_codes(places)
    order = np.argsort(codes, kind="stable")
    return places[order], codes[order], order


def _depth(size: tuple[int, int, int]) -> int:
    return max(1, int(max(size) - 1).bit_length())


def _level(
    k: int,
    size: tuple[int, int, int],
    index: np.ndarray,
    values: np.ndarray,
    steps: VoxelSteps,
    importance: Importance,
    lam: float,
) -> dict[str, bytes]:
    places, codes, order = _places(size, index)
    n, depth = len(places), _depth(size)
    parts = []
    for begin in range(0, n, CELL_SIZE):
        some = places[begin : begin + CELL_SIZE].astype(np.int32)
        count = np.array([len(some)], np.int64)
        streams, _ = encode_cell(some, np.zeros((len(some), 10), np.int32), count, depth, False)
        parts.append(_COUNT.pack(len(some), len(streams[0][0])) + streams[0][0])
    chunks = {f"{k}.places": b"".join(parts)}
    tree = stages(codes, 3 * depth)
    dense: list[np.ndarray] = []
    for group, part in columns(values.shape[1]).items():
        unit = steps.by_group()[group] / UNITS
        weights = getattr(importance, group)[order]
        q, root = forward(values[order, part] / unit, weights, tree, lam / unit**2)
        contexts = _Contexts(tree, dense, steps.by_group()["density"])
        pieces = [encode_rows(root.astype(np.int32))]
        walk = backward(root, tree)
        number, parents = next(walk)
        while number >= 0:
            classes = contexts.classes(number, parents)
            flat = np.repeat(classes[:, None], q[number].shape[1], 1)
            pieces.append(encode_conditional(q[number].astype(np.int32), flat, _CLASSES))
            contexts.remember(number, q[number])
            number, parents = walk.send(q[number])
        dense = contexts.parents if group == "density" else dense
        chunks[f"{k}.{group}"] = b"".join(struct.pack("<I", len(piece)) + piece for piece in pieces)
    return chunks


def _read_level(
    content: ChunkedFile,
    k: int,
    size: tuple[int, int, int],
    width: int,
    steps: dict[str, float],
    digest: Any,
    most: int,
) -> tuple[np.ndarray, np.ndarray]:
    depth = _depth(size)
    places = _read_places(content, f"{k}.places", size, depth, most)
    digest.update(places.astype("<i4").tobytes())
    codes = morton_codes(places)
    if len(codes) and (np.diff(codes.astype(np.int64)) <= 0).any():
        raise content.fault(f"{k}.places", "vertices in ascending order", "others")
    tree = stages(codes, 3 * depth)
    out = np.zeros((len(places), width), np.float32)
    dense: list[np.ndarray] = []
    for group, part in columns(width).items():
        contexts = _Contexts(tree, dense, steps["density"])
        values = _read_group(content, f"{k}.{group}", part.stop - part.start, tree, contexts, len(places))
        dense = contexts.parents if group == "density" else dense
        digest.update(values.astype("<i8").tobytes())
        out[:, part] = values * (steps[group] / UNITS)
    index = (places[:, 2] * size[1] + places[:, 1]) * size[0] + places[:, 0]
    order = np.argsort(index, kind="stable")
    return index[order], out[order]


def _read_places(content: ChunkedFile, name: str, size: tuple[int, int, int], depth: int, most: int) -> np.ndarray:
    data = content.chunk(name)
    found, at, total = [np.zeros((0, 3), np.int64)], 0, 0
    while at < len(data):
        if at + _COUNT.size > len(data):
            raise content.fault(name, "a cell", f"{len(data) - at} bytes", at)
        count, length = _COUNT.unpack_from(data, at)
        start = at + _COUNT.size
        total += count
        if not 1 <= count <= CELL_SIZE or start + length > len(data) or total > most:
            raise content.fault(name, f"a cell of 1 to {CELL_SIZE} vertices within the chunk", f"{count}, {length}", at)
        positions, _, fault = decode_cell(
            [[data[start : start + length]]], np.array([count], np.int64), np.zeros(1, np.int64), depth, 0
        )
        if fault is not None:
            raise content.fault(name, "a sound cell", fault[2], start)
        found.append(np.asarray(positions, np.int64))
        at = start + length
    places = np.concatenate(found)
    if len(places) and ((places < 0) | (places >= np.array(size))).any():
        raise content.fault(name, f"vertices within {size}", f"{places.max(axis=0).tolist()}")
    return places


def _read_group(
    content: ChunkedFile, name: str, width: int, tree: list[Stage], contexts: _Contexts, n: int
) -> np.ndarray:
    pieces = _pieces(content, name)
    root, fault = decode_rows(next(pieces), 1 if n else 0, width)
    if fault is not None:
        raise content.fault(name, "a root", fault)
    walk = backward(root.astype(np.int64), tree)
    number, parents = next(walk)
    while number >= 0:
        classes = contexts.classes(number, parents)
        try:
            q = decode_conditional(next(pieces), np.repeat(classes[:, None], width, 1), _CLASSES)
        except ConditionalError as error:
            raise content.fault(name, "sound coefficients", f"{error} in stage {number}") from error
        contexts.remember(number, q)
        number, parents = walk.send(q.astype(np.int64))
    return parents


def _pieces(content: ChunkedFile, name: str) -> Iterator[bytes]:
    data, at = content.chunk(name), 0
    while True:
        if at + 4 > len(data):
            raise content.fault(name, "another stage", f"{len(data) - at} bytes", at)
        (length,) = struct.unpack_from("<I", data, at)
        if at + 4 + length > len(data):
            raise content.fault(name, f"{length} bytes of a stage", f"{len(data) - at - 4}", at)
        yield data[at + 4 : at + 4 + length]
        at += 4 + length


class _Contexts:
    """What is known of a pair before it is coded.

    parents: The parents' values of each stage of the density, coarse to fine; what colours are coded in the context of.
    """

    def __init__(self, tree: list[Stage], dense: list[np.ndarray], density_step: float) -> None:
        self._tree, self._dense = tree, dense
        self._unit = density_step / UNITS
        self._sizes: np.ndarray | None = None  # of the coefficients, for each node of the stage to come
        self.parents: list[np.ndarray] = []

    def classes(self, number: int, parents: np.ndarray) -> np.ndarray:
        """int32 [pairs] in 0 ... _CLASSES - 1."""
        pair = np.flatnonzero(self._tree[number].paired)
        self.parents.append(parents[:, 0])
        dense = self._dense[len(self.parents) - 1] if self._dense else parents[:, 0]
        # Two of the raw density a class, from -4 on: the values of nearly empty vertices to those of walls.
        size = int(2.0 / self._unit) or 1
        level = np.clip((dense[pair] + 2 * size) // size, 0, _DENSITIES - 1)
        known = np.zeros(len(pair), np.int64) if self._sizes is None else self._sizes[pair]
        return (known * _DENSITIES + level).astype(np.int32)

    def remember(self, number: int, q: np.ndarray) -> None:
        """Keeps the sizes of a stage's coefficients for its children."""
        stage = self._tree[number]
        own = np.abs(q.astype(np.int64)).sum(axis=1)
        sizes = np.zeros(len(stage.first), np.int64)
        if self._sizes is not None:
            sizes = self._sizes.copy()  # a node without partner passes on what its parent had
        pair = np.flatnonzero(stage.paired)
        sizes[pair] = np.minimum(np.ceil(np.log2(own + 1.0)).astype(np.int64), _SIZES - 1)
        children = np.repeat(sizes, 1 + stage.paired)
        self._sizes = children


__all__ = [
    "Importance",
    "VoxelSteps",
    "columns",
    "decode_mip_voxels",
    "decode_voxels",
    "encode_mip_voxels",
    "encode_voxels",
]
