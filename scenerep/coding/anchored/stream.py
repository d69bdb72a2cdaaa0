"""An anchored scene as bytes and back. Byte table: docs/formats/srz.md.

Streams, each a range coder of its own: positions (octree; one for each 65,536 anchors), weights, hyper-prior of the
reference embeddings, those, scales, hyper-prior of the residual embeddings, those. Each gives the contexts of the next.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from scenerep.coding.anchored.entropy import FRACTIONS, SIGMAS, Prediction, predict
from scenerep.coding.anchored.scene import SCALES, WEIGHT_LIMIT, AnchoredSplats, Grid, Layout
from scenerep.coding.cells import decode_cell, encode_cell
from scenerep.coding.order import CELL_SIZE, coded_order
from scenerep.coding.conditional import ConditionalError, decode_conditional, encode_conditional
from scenerep.errors import FormatError, SceneRepError

_HEAD = struct.Struct("<I8BBBH3d3dff6f")
_LENGTHS = struct.Struct("<I")
_NAMES = ("weights", "reference hyper-priors", "references", "scales", "residual hyper-priors", "residuals")

# As in a container of plain Gaussians: a small file cannot ask for much memory.
PRIMITIVES_PER_BYTE = 8


def sort_anchors(scene: AnchoredSplats) -> AnchoredSplats:
    """The scene with its anchors in the order in which they are coded."""
    order, _ = coded_order(scene.positions, np.zeros(len(scene), np.uint8))
    rows = ("positions", "reference", "scales", "residual", "reference_hyper", "residual_hyper")
    arrays = {name: getattr(scene, name)[order] for name in rows}
    return AnchoredSplats(
        scene.layout,
        scene.grid,
        scene.scale_steps,
        weights=scene.weights,
        antialiased=scene.antialiased,
        metadata=scene.metadata,
        **arrays,
    )


def encode_anchored(scene: AnchoredSplats) -> bytes:
    """The bytes. Decoding gives the same integers, in the order of `sort_anchors`; the metadata are not in them."""
    scene = sort_anchors(scene)
    streams = list(_streams(scene))
    missing = -(-scene.primitives // PRIMITIVES_PER_BYTE) - sum(map(len, streams))
    streams[-1] += bytes(max(0, missing))
    at, grid = scene.layout, scene.grid
    head = _HEAD.pack(
        len(scene),
        *at.to_dict().values(),
        grid.depth,
        int(scene.antialiased),
        len(streams),
        *grid.origin,
        *grid.centre,
        grid.position,
        grid.radius,
        *scene.scale_steps.tolist(),
    )
    body = head + b"".join(_LENGTHS.pack(len(s)) for s in streams) + b"".join(streams)
    return body + struct.pack("<I", zlib.crc32(body))


def stream_lengths(data: bytes) -> dict[str, int]:
    """Bytes of each stream of what `encode_anchored` gave."""
    count = _HEAD.unpack_from(data)[11]  # streams
    lengths = [_LENGTHS.unpack_from(data, _HEAD.size + 4 * i)[0] for i in range(count)]
    octrees = count - len(_NAMES)
    return {"positions": sum(lengths[:octrees])} | dict(zip(_NAMES, lengths[octrees:]))


def decode_anchored(data: bytes, file: str = "<anchored>") -> AnchoredSplats:
    """The inverse of `encode_anchored`.

    Raises:
        FormatError: the bytes are broken, cut off, or contradict themselves. Offsets count from the start of `data`.
    """
    n, layout, grid, steps, antialiased, places = _read_head(data, file)
    parts = [data[begin:end] for begin, end in places]
    cells = len(parts) - len(_NAMES)
    positions = _read_positions(parts[:cells], [p[0] for p in places], n, grid.depth, file)
    starts = [begin for begin, _ in places[cells:]]

    def read(stream: int, p: Prediction) -> np.ndarray:
        try:
            found = decode_conditional(parts[cells + stream], p.classes, _classes(p), _fine(p))
        except ConditionalError as error:
            raise FormatError(file, f"the {_NAMES[stream]} of the anchors", str(error), starts[stream]) from error
        return found + p.means

    weights = _unpack_weights(read(0, _unknown(_weight_count(layout), 1)), layout)
    if any(np.abs(w).max(initial=0) >= WEIGHT_LIMIT for w in weights.values()):
        raise FormatError(file, f"weights below {WEIGHT_LIMIT}", "a larger one", starts[0])
    reference_hyper = read(1, _unknown(n, layout.reference_hyper))
    reference = read(2, predict(weights, "reference", reference_hyper))
    scales = read(3, predict(weights, "scales", reference))
    residual_hyper = read(4, _unknown(n, layout.coupled * layout.residual_hyper))
    residual = read(5, _residual_prediction(weights, layout, reference, residual_hyper))
    try:
        return AnchoredSplats(
            layout,
            grid,
            steps,
            positions,
            reference,
            scales,
            residual.reshape(n, layout.coupled, layout.residual),
            reference_hyper,
            residual_hyper,
            weights,
            antialiased,
        )
    except SceneRepError as error:
        raise FormatError(file, "integers within their limits", error.message, starts[0]) from error


def _streams(scene: AnchoredSplats) -> Iterator[bytes]:
    n = len(scene)
    zeros = np.zeros((CELL_SIZE, 10), np.int32)
    for begin in range(0, n, CELL_SIZE):
        cell = np.ascontiguousarray(scene.positions[begin : begin + CELL_SIZE])
        counts = np.array([len(cell)], np.int64)
        yield encode_cell(cell, zeros[: len(cell)], counts, scene.grid.depth, False)[0][0][0]

    def write(values: np.ndarray, p: Prediction) -> bytes:
        return encode_conditional(values.reshape(p.means.shape) - p.means, p.classes, _classes(p), _fine(p))

    w, layout = scene.weights, scene.layout
    yield write(np.concatenate([w[name].ravel() for name in layout.weight_shapes()]), _unknown(_weight_count(layout), 1))
    yield write(scene.reference_hyper, _unknown(*scene.reference_hyper.shape))
    yield write(scene.reference, predict(w, "reference", scene.reference_hyper))
    yield write(scene.scales, predict(w, "scales", scene.reference))
    yield write(scene.residual_hyper, _unknown(*scene.residual_hyper.shape))
    yield write(scene.residual, _residual_prediction(w, layout, scene.reference, scene.residual_hyper))


def _unknown(rows: int, columns: int) -> Prediction:
    """Nothing is known of these numbers but their column."""
    zeros = np.zeros((rows, columns), np.int32)
    return Prediction(zeros, zeros)


def _classes(p: Prediction) -> int:
    return 1 if p.classes is p.means else SIGMAS * FRACTIONS


def _fine(p: Prediction) -> int:
    return 1 if p.classes is p.means else FRACTIONS


def _residual_prediction(
    weights: dict[str, np.ndarray], layout: Layout, reference: np.ndarray, hyper: np.ndarray
) -> Prediction:
    """A row for each coupled primitive: those of an anchor follow each other, and what was coded above helps."""
    p = predict(weights, "residual", np.concatenate([reference, hyper], axis=1))
    return Prediction(p.means.reshape(-1, layout.residual), p.classes.reshape(-1, layout.residual))


def _weight_count(layout: Layout) -> int:
    return sum(rows * columns for rows, columns in layout.weight_shapes().values())


def _unpack_weights(values: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    out, at = {}, 0
    for name, (rows, columns) in layout.weight_shapes().items():
        out[name] = values[at : at + rows * columns].reshape(rows, columns)
        at += rows * columns
    return out


def _read_head(data: bytes, file: str) -> tuple[int, Layout, Grid, np.ndarray, bool, list[tuple[int, int]]]:
    if len(data) < _HEAD.size + 4:
        raise FormatError(file, f"a head of {_HEAD.size} bytes", f"{len(data)}", len(data))
    n, *sizes = _HEAD.unpack_from(data)
    layout_sizes, (depth, flags, streams), numbers = sizes[:8], sizes[8:11], sizes[11:]
    if zlib.crc32(data[:-4]) != struct.unpack_from("<I", data, len(data) - 4)[0]:
        raise FormatError(file, "bytes with the right checksum", "others", len(data) - 4, "get a fresh copy of the file")
    if flags > 1:
        raise FormatError(file, "unused bits to be zero", f"flags {flags:#x}", 13)
    try:
        layout = Layout(*layout_sizes)
        origin, centre = (tuple(numbers[i : i + 3]) for i in (0, 3))
        grid = Grid(origin, numbers[6], depth, centre, numbers[7])
    except SceneRepError as error:
        raise FormatError(file, "a usable head", error.message, 4) from error
    steps = np.array(numbers[8:], np.float32)
    if not np.all(np.isfinite(steps) & (steps > 0)):
        raise FormatError(file, "positive steps of the scales", str(steps.tolist()), _HEAD.size - 24)
    if n > PRIMITIVES_PER_BYTE * len(data) or n * layout.coupled > PRIMITIVES_PER_BYTE * len(data):
        raise FormatError(file, "anchors that fit into the bytes", str(n), 0)
    expected = -(-n // CELL_SIZE) + len(_NAMES)
    start = _HEAD.size + 4 * streams
    if streams != expected or start + 4 > len(data):
        raise FormatError(file, f"{expected} streams", str(streams), 14)
    places = []
    for i in range(streams):
        end = start + _LENGTHS.unpack_from(data, _HEAD.size + 4 * i)[0]
        places.append((start, end))
        start = end
    if start != len(data) - 4:
        raise FormatError(file, f"{len(data) - 4} bytes of streams and head", str(start), _HEAD.size)
    return n, layout, grid, steps, bool(flags), places


def _read_positions(parts: list[bytes], starts: list[int], n: int, depth: int, file: str) -> np.ndarray:
    # Cells share the anchors as `coded_order` does on the encoder's side: full ones first.
    found = [np.zeros((0, 3), np.int32)]
    for i, part in enumerate(parts):
        counts = np.array([min(CELL_SIZE, n - i * CELL_SIZE)], np.int64)
        positions, _, fault = decode_cell([[part]], counts, np.zeros(1, np.int64), depth, 0)
        if fault is not None:
            raise FormatError(file, "the positions of the anchors", fault[2], starts[i])
        found.append(positions)
    return np.concatenate(found)
