"""Kind 6 of `.srz`: the weights of a coordinate network. Byte table: docs/formats/srz.md.

Every array has a step of its own; its integers are one stream that learns their distribution as it goes.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.coding.chunked import ChunkedFile, write_chunked
from scenerep.coding.kinds import KIND_FIELD, Decoded
from scenerep.coding.quantiser import INTEGER_LIMIT
from scenerep.coding.symbols import decode_rows, encode_rows
from scenerep.errors import SceneRepError
from scenerep.field_shapes import NETWORKS, FieldShape
from scenerep.scenes import RADIANCE, SUBJECTS, NeuralField

_SHAPE = struct.Struct("<BBBBBBHHIf")
_MARCH = struct.Struct("<HHHB")
_LENGTH = struct.Struct("<I")
_ENDS = ((3, 1), (2, 3), (3, 13))  # inputs and outputs of the subjects
_MAX_SIDE, _MAX_GRID = 4096, 1 << 28  # the grid is baked by whoever opens the file


def encode_field(scene: NeuralField, steps: dict[str, float], metadata: dict[str, Any] | None = None) -> bytes:
    """The file of a network whose weights are rounded to multiples of steps (as float32), one for each array.

    Raises:
        SceneRepError: a weight is not finite, or too large for its step.
    """
    integers = {}
    for name, values in scene.weights.items():
        scaled = np.round(values.astype(np.float64) / float(np.float32(steps[name])))
        if not (np.abs(scaled) < INTEGER_LIMIT).all():  # nan too
            raise SceneRepError(f"the weights {name} cannot be written in steps of {steps[name]:g}", "use larger steps")
        integers[name] = scaled.astype(np.int32)
    return encode_integers(scene, integers, steps, metadata)


def encode_integers(
    scene: NeuralField, integers: dict[str, np.ndarray], steps: dict[str, float], metadata: dict[str, Any] | None = None
) -> bytes:
    """The same of integers that were chosen already; of the scene only shape, subject and box count."""
    s = scene.shape
    head = _SHAPE.pack(
        *(NETWORKS.index(s.network), SUBJECTS.index(scene.subject), s.inputs, s.outputs, s.layers, s.levels),
        *(s.width, s.detail, s.rank, s.omega),
    )
    if scene.march is not None:
        head += _MARCH.pack(*scene.march, scene.contracted)
    head += scene.box.astype("<f8").tobytes() + np.array([steps[name] for name in s.arrays()], "<f4").tobytes()
    streams = [encode_rows(integers[name].reshape(-1, 1)) for name in s.arrays()]
    weights = b"".join(_LENGTH.pack(len(stream)) + stream for stream in streams)
    return write_chunked(
        ChunkedFile(KIND_FIELD, s.count(), 0, {"field": head, "weights": weights}, False, metadata or {})
    )


def decode_field(content: ChunkedFile) -> Decoded:
    """Raises: FormatError for a chunk that is missing or broken."""
    empty, steps = _read_head(content)
    shape = empty.shape
    data, at = content.chunk("weights"), 0
    if shape.count() != content.count:
        raise content.fault("field", f"a network of {content.count} weights", f"{shape.count()}")
    digest = hashlib.sha256(content.chunk("field"))
    weights = {}
    for (name, size), step in zip(shape.arrays().items(), steps, strict=True):
        if at + _LENGTH.size > len(data):
            raise content.fault("weights", f"the stream of {name}", "the end", at)
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            raise content.fault("weights", f"{length} bytes of {name}", f"{len(data) - at}", at)
        integers, fault = decode_rows(data[at : at + length], int(np.prod(size)), 1)
        if fault is not None:
            raise content.fault("weights", f"the weights {name}", fault, at)
        digest.update(integers.astype("<i4").tobytes())
        weights[name] = (integers.astype(np.float64) * step).astype(np.float32).reshape(size)
        at += length
    if at != len(data):
        raise content.fault("weights", "the end", f"{len(data) - at} more bytes", at)
    scene = NeuralField(shape, weights, empty.subject, empty.box, content.metadata, empty.march, empty.contracted)
    return Decoded(scene, digest.hexdigest())


@dataclass(frozen=True)
class _Head:
    """What stands in chunk `field` but the steps."""

    shape: FieldShape
    subject: str
    box: np.ndarray
    march: tuple[int, int, int] | None
    contracted: bool


def _read_head(content: ChunkedFile) -> tuple[_Head, np.ndarray]:
    data = content.chunk("field")
    if len(data) < _SHAPE.size:
        raise content.fault("field", f"{_SHAPE.size} bytes and more", f"{len(data)}")
    network, subject, inputs, outputs, layers, levels, width, detail, rank, omega = _SHAPE.unpack_from(data)
    if network >= len(NETWORKS) or subject >= len(SUBJECTS):
        raise content.fault("field", f"a network of {', '.join(NETWORKS)}", f"number {network} of subject {subject}")
    if (inputs, outputs) != _ENDS[subject]:
        raise content.fault("field", f"{_ENDS[subject]} inputs and outputs", f"{inputs} and {outputs}", 2)
    shape = FieldShape(NETWORKS[network], inputs, outputs, width, layers, detail, rank, levels, float(omega))
    fault = shape.fault()
    if fault is not None:
        raise content.fault("field", "a possible network", fault, 4)
    at, arrays = _SHAPE.size, len(shape.arrays())
    march, contracted = None, 0
    expected = at + (_MARCH.size if SUBJECTS[subject] == RADIANCE else 0) + 16 * inputs + 4 * arrays
    if len(data) != expected:
        raise content.fault("field", f"{expected} bytes", f"{len(data)}")
    if SUBJECTS[subject] == RADIANCE:
        nx, ny, nz, contracted = _MARCH.unpack_from(data, at)
        march = nx, ny, nz
        if not 2 <= min(march) <= max(march) <= _MAX_SIDE or nx * ny * nz > _MAX_GRID or contracted > 1:
            limit = f"2 to {_MAX_SIDE} vertices a side, at most 2^28"
            raise content.fault("field", limit, f"{march}, {contracted}", at)
        at += _MARCH.size
    box = np.frombuffer(data, "<f8", 2 * inputs, at).reshape(2, inputs)
    if not (np.isfinite(box).all() and np.abs(box).max() < 1e9 and (box[1] - box[0] > 1e-9).all()):
        raise content.fault("field", "two corners, the lower one first", f"{box.tolist()}", at)
    steps = np.frombuffer(data, "<f4", arrays, at + 16 * inputs).astype(np.float64)
    if not ((steps >= 2.0**-40) & (steps <= 2.0**20)).all():  # nan too
        raise content.fault("field", "positive steps", f"{steps.tolist()}", at + 16 * inputs)
    return _Head(shape, SUBJECTS[subject], box, march, bool(contracted)), steps
