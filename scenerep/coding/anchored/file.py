"""An anchored scene as an `.srz` file of kind 3 and back. Chunks and head: docs/formats/srz.md.

Each chunk but the head is a range coder of its own and gives the contexts of the next.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import numpy as np

from scenerep import __version__
from scenerep.coding.anchored.bake import bake
from scenerep.coding.anchored.entropy import Prediction, predict
from scenerep.coding.anchored.scene import STEP_LIMIT, WEIGHT_LIMIT, AnchoredSplats, Grid, Layout
from scenerep.coding.cells import decode_cell, encode_cell
from scenerep.coding.chunked import ChunkedFile, write_chunked
from scenerep.coding.conditional import ConditionalError, decode_conditional, encode_conditional
from scenerep.coding.kinds import Decoded
from scenerep.coding.order import CELL_SIZE, coded_order
from scenerep.errors import SceneRepError

KIND = 3
HEAD, POSITIONS = "anchors", "positions"
_NAMES = ("weights", "reference-hyper", "reference", "scales", "residual-hyper", "residual")
_HEAD = struct.Struct("<I9B3x3d3dff8f")
_ARRAYS = ("positions", "reference", "scales", "residual", "reference_hyper", "residual_hyper")

# As in a file of plain Gaussians: a small file cannot ask for much memory.
PRIMITIVES_PER_BYTE = 8


def sort_anchors(scene: AnchoredSplats) -> AnchoredSplats:
    """The scene with its anchors in the order in which they are coded."""
    order, _ = coded_order(scene.positions, np.zeros(len(scene), np.uint8))
    arrays = {name: getattr(scene, name)[order] for name in _ARRAYS}
    return AnchoredSplats(
        scene.layout,
        scene.grid,
        scene.embedding_steps,
        scene.scale_steps,
        weights=scene.weights,
        antialiased=scene.antialiased,
        metadata=scene.metadata,
        **arrays,
    )


def encode_anchored(scene: AnchoredSplats) -> bytes:
    """A whole `.srz` file. Decoding gives the same integers, in the order of `sort_anchors`."""
    scene = sort_anchors(scene)
    chunks = {HEAD: _pack_head(scene)} | dict(_chunks(scene))
    missing = -(-scene.primitives // PRIMITIVES_PER_BYTE) - sum(map(len, chunks.values()))
    chunks[_NAMES[-1]] += bytes(max(0, missing))
    metadata = {"generator": f"scenerep {__version__}"} | scene.metadata
    degree = scene.layout.sh_degree
    return write_chunked(ChunkedFile(KIND, scene.primitives, degree, chunks, scene.antialiased, metadata))


def decode(content: ChunkedFile) -> Decoded:
    """The baked scene; for the table of kinds.

    Raises:
        FormatError: the chunks are broken or contradict themselves.
    """
    scene = decode_anchored(content)
    return Decoded(bake(scene), digest(scene))


def digest(scene: AnchoredSplats) -> str:
    """SHA-256 of the integers, little-endian int32, in the order of the file."""
    sha = hashlib.sha256()
    for array in (*(getattr(scene, name) for name in _ARRAYS), *scene.weights.values()):
        sha.update(array.astype("<i4").tobytes())
    return sha.hexdigest()


def decode_anchored(content: ChunkedFile) -> AnchoredSplats:
    """The integers of a file.

    Raises:
        FormatError: the chunks are broken or contradict themselves.
    """
    n, layout, grid, steps = _read_head(content)

    def read(name: str, p: Prediction) -> np.ndarray:
        try:
            return decode_conditional(content.chunk(name), p.classes, p.count, p.fine) + p.means
        except ConditionalError as error:
            raise content.fault(name, "integers", str(error)) from error

    weights = _unpack_weights(read("weights", _unknown(_weight_count(layout), 1)), layout)
    if any(np.abs(w).max(initial=0) >= WEIGHT_LIMIT for w in weights.values()):
        raise content.fault("weights", f"weights below {WEIGHT_LIMIT}", "a larger one")
    reference_hyper = read("reference-hyper", _unknown(n, layout.reference_hyper))
    reference = read("reference", predict(weights, "reference", reference_hyper))
    scales = read("scales", predict(weights, "scales", reference))
    residual_hyper = read("residual-hyper", _unknown(n, layout.coupled * layout.residual_hyper))
    residual = read("residual", _residual_prediction(weights, layout, reference, residual_hyper))
    try:
        return AnchoredSplats(
            layout,
            grid,
            steps[:2],
            steps[2:],
            _read_positions(content, n, grid.depth),
            reference,
            scales,
            residual.reshape(n, layout.coupled, layout.residual),
            reference_hyper,
            residual_hyper,
            weights,
            content.antialiased,
            content.metadata,
        )
    except SceneRepError as error:
        raise content.fault("reference", "integers within their limits", error.message) from error


def _chunks(scene: AnchoredSplats) -> Iterator[tuple[str, bytes]]:
    zeros = np.zeros((CELL_SIZE, 10), np.int32)
    for i, begin in enumerate(range(0, len(scene), CELL_SIZE)):
        cell = np.ascontiguousarray(scene.positions[begin : begin + CELL_SIZE])
        counts = np.array([len(cell)], np.int64)
        yield f"{POSITIONS}.{i}", encode_cell(cell, zeros[: len(cell)], counts, scene.grid.depth, False)[0][0][0]
    w, layout = scene.weights, scene.layout
    numbers = np.concatenate([w[name].ravel() for name in layout.weight_shapes()])
    contents = (
        (numbers, _unknown(len(numbers), 1)),
        (scene.reference_hyper, _unknown(*scene.reference_hyper.shape)),
        (scene.reference, predict(w, "reference", scene.reference_hyper)),
        (scene.scales, predict(w, "scales", scene.reference)),
        (scene.residual_hyper, _unknown(*scene.residual_hyper.shape)),
        (scene.residual, _residual_prediction(w, layout, scene.reference, scene.residual_hyper)),
    )
    for name, (values, p) in zip(_NAMES, contents, strict=True):
        yield name, encode_conditional(values.reshape(p.means.shape) - p.means, p.classes, p.count, p.fine)


def _unknown(rows: int, columns: int) -> Prediction:
    """Nothing is known of these numbers but their column."""
    zeros = np.zeros((rows, columns), np.int32)
    return Prediction(zeros, zeros, 1, 1)


def _residual_prediction(
    weights: dict[str, np.ndarray], layout: Layout, reference: np.ndarray, hyper: np.ndarray
) -> Prediction:
    """A row for each coupled primitive: those of an anchor follow each other, and what was coded above helps."""
    p = predict(weights, "residual", np.concatenate([reference, hyper], axis=1))
    shape = (-1, layout.residual)
    return Prediction(p.means.reshape(shape), p.classes.reshape(shape))


def _weight_count(layout: Layout) -> int:
    return sum(rows * columns for rows, columns in layout.weight_shapes().values())


def _unpack_weights(values: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    out, at = {}, 0
    for name, (rows, columns) in layout.weight_shapes().items():
        out[name] = values[at : at + rows * columns].reshape(rows, columns)
        at += rows * columns
    return out


def _pack_head(scene: AnchoredSplats) -> bytes:
    grid = scene.grid
    sizes = [*scene.layout.to_dict().values(), grid.depth]
    numbers = [*grid.origin, *grid.centre, grid.position, grid.radius]
    numbers += [*scene.embedding_steps.tolist(), *scene.scale_steps.tolist()]
    return _HEAD.pack(len(scene), *sizes, *numbers)


def _read_head(content: ChunkedFile) -> tuple[int, Layout, Grid, np.ndarray]:
    data = content.chunk(HEAD)
    if len(data) != _HEAD.size:
        raise content.fault(HEAD, f"{_HEAD.size} bytes", str(len(data)))
    n, *values = _HEAD.unpack(data)
    *sizes, depth = values[:9]
    numbers = values[9:]
    try:
        layout = Layout(*sizes)
        origin, centre = (numbers[0], numbers[1], numbers[2]), (numbers[3], numbers[4], numbers[5])
        grid = Grid(origin, numbers[6], depth, centre, numbers[7])
    except SceneRepError as error:
        raise content.fault(HEAD, "a usable layout and grid", error.message, 4) from error
    steps = np.array(numbers[8:], np.float32)
    if not np.all((steps > 0) & (steps < STEP_LIMIT)):
        raise content.fault(HEAD, f"positive steps below {STEP_LIMIT:g}", str(steps.tolist()), _HEAD.size - 32)
    room = PRIMITIVES_PER_BYTE * sum(map(len, content.chunks.values()))
    if n * layout.coupled != content.count or content.count > room or layout.sh_degree != content.sh_degree:
        found = f"{n} x {layout.coupled} of degree {layout.sh_degree}, at most {room}"
        raise content.fault(HEAD, f"{content.count} primitives of SH degree {content.sh_degree}", found)
    return n, layout, grid, steps


def _read_positions(content: ChunkedFile, n: int, depth: int) -> np.ndarray:
    found = [np.zeros((0, 3), np.int32)]
    for i, begin in enumerate(range(0, n, CELL_SIZE)):
        name = f"{POSITIONS}.{i}"
        counts = np.array([min(CELL_SIZE, n - begin)], np.int64)
        positions, _, fault = decode_cell([[content.chunk(name)]], counts, np.zeros(1, np.int64), depth, 0)
        if fault is not None:
            raise content.fault(name, "positions", fault[2])
        found.append(positions)
    return np.concatenate(found)
