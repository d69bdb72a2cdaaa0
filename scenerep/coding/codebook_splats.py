"""Kind 2 of `.srz`: splats of which some attributes stand as indices into codebooks. Byte table: docs/formats/srz.md.

A file has parts, one after the other. A part is a plain file of splats (kind 1: positions by the octree, whatever is
coded as numbers, zeros for the rest) and codebooks, each with an index for every Gaussian in the order of that file.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scenerep.coding.chunked import ChunkedFile, write_chunked
from scenerep.coding.kinds import KIND_CODEBOOKS, Decoded
from scenerep.coding.order import coded_order
from scenerep.coding.quantised import QuantisedSplats, dequantise
from scenerep.coding.scene_codec import decode, encode
from scenerep.coding.symbols import MAX_SYMBOLS, decode_rows, decode_symbols, encode_rows, encode_symbols
from scenerep.errors import FormatError, SceneRepError
from scenerep.scenes import Gaussians

ATTRIBUTES: dict[str, tuple[str, int, int]] = {
    "scale": ("log_scales", 0, 3),
    "rotation": ("quats", 0, 4),
    "dc": ("sh", 0, 3),
    "sh1": ("sh", 3, 9),
    "sh2": ("sh", 12, 15),
    "sh3": ("sh", 27, 21),
    "colour2": ("sh", 0, 27),
}
"""What a codebook may stand for: array of `Gaussians`, first column (of the rows, flattened), number of columns."""

MAX_PARTS = 8
_BOOK = struct.Struct("<IBBHf")


@dataclass(frozen=True)
class Codebook:
    """rows: int32 [c, width of the attribute], values are row * step. indices: int32 [n], -1 for Gaussians that keep
    what the numbers say. step is a float32."""

    attribute: str
    rows: np.ndarray
    step: float
    indices: np.ndarray

    @property
    def optional(self) -> bool:
        return bool((self.indices < 0).any())

    @property
    def used(self) -> float:
        """Share of the codewords that some Gaussian uses."""
        return len(np.unique(self.indices[self.indices >= 0])) / max(len(self.rows), 1)


@dataclass(frozen=True)
class Part:
    """splats: one layer. codebooks: with indices in the order of the splats."""

    splats: QuantisedSplats
    codebooks: tuple[Codebook, ...]


def part_scene(part: Part, sh_degree: int) -> Gaussians:
    """What a part stands for; SH above the degree of its splats is what codebooks say, else 0."""
    scene = dequantise(part.splats)
    n, k = len(scene), (sh_degree + 1) ** 2
    sh = np.zeros((n, k, 3), np.float32)
    sh[:, : min(k, scene.sh.shape[1])] = scene.sh[:, :k]
    arrays = scene.arrays() | {"sh": sh}
    for book in part.codebooks:
        name, first, width = ATTRIBUTES[book.attribute]
        values = (book.rows * np.float64(np.float32(book.step))).astype(np.float32)
        flat = arrays[name].reshape(n, int(np.prod(arrays[name].shape[1:])))
        there = book.indices >= 0
        flat[there, first : first + width] = values[book.indices[there]]
        arrays[name] = flat.reshape(arrays[name].shape)
    # A broken file may hold a quaternion of length zero.
    arrays["quats"][~arrays["quats"].any(axis=1)] = [1, 0, 0, 0]
    return replace(scene, **arrays, metadata={})


def encode_parts(parts: Sequence[Part], sh_degree: int, metadata: dict[str, Any]) -> bytes:
    """The file.

    Raises:
        SceneRepError: too many parts, an attribute beyond the SH degree, or indices that leave their codebook.
    """
    if not 1 <= len(parts) <= MAX_PARTS:
        raise SceneRepError(f"{len(parts)} parts cannot be written", f"use 1 to {MAX_PARTS}")
    chunks: dict[str, bytes] = {}
    for number, part in enumerate(parts):
        order, _ = coded_order(part.splats.positions, part.splats.layers)
        chunks[f"{number}.splats"] = encode(part.splats)
        for book in part.codebooks:
            _check_attribute(book.attribute, sh_degree)
            name, flags = f"{number}.{book.attribute}", int(book.optional)
            head = _BOOK.pack(len(book.rows), flags, 0, book.rows.shape[1], book.step)
            chunks[f"{name}.book"] = head + encode_rows(book.rows)
            indices = book.indices[order]
            chunks[f"{name}.index"] = encode_symbols(indices, max(len(book.rows), 1), optional=book.optional)
    count = sum(len(part.splats) for part in parts)
    antialiased = parts[0].splats.antialiased
    return write_chunked(ChunkedFile(KIND_CODEBOOKS, count, sh_degree, chunks, antialiased, metadata))


def decode_codebooks(content: ChunkedFile) -> Decoded:
    """The scene of a file of this kind.

    Raises:
        FormatError: a chunk is missing or broken.
    """
    digest = hashlib.sha256()
    scenes = []
    numbers = sorted({name.partition(".")[0] for name in content.chunks})
    if numbers != [str(i) for i in range(len(numbers))] or len(numbers) > MAX_PARTS or not numbers:
        found = ", ".join(numbers) or "none"
        raise FormatError(content.file, f"up to {MAX_PARTS} parts, numbered from 0", found, content.head_length)
    for number in numbers:
        name = f"{number}.splats"
        start = content.offsets.get(name, 0)
        try:
            splats = decode(content.chunk(name), file=content.file)
        except FormatError as error:
            if error.offset is None or name not in content.chunks:
                raise
            raise FormatError(content.file, error.expected, error.found, start + error.offset, error.hint) from error
        if splats.layer_count != 1 or splats.quantiser.sh_degree > content.sh_degree:
            raise content.fault(name, "one layer, SH degrees of the file", f"{splats.layer_count} layers")
        digest.update(splats.digest().encode())
        books = tuple(_codebook(content, number, attribute, len(splats)) for attribute in _attributes(content, number))
        for book in books:
            digest.update(book.attribute.encode() + np.float32(book.step).tobytes())
            digest.update(book.rows.astype("<i4").tobytes() + book.indices.astype("<i4").tobytes())
        scenes.append(part_scene(Part(splats, books), content.sh_degree))
    arrays = {name: np.concatenate([scene.arrays()[name] for scene in scenes]) for name in scenes[0].arrays()}
    return Decoded(replace(scenes[0], **arrays), digest.hexdigest())


def _attributes(content: ChunkedFile, number: str) -> list[str]:
    """Those with a codebook, in the order of the file; every chunk of the part is accounted for."""
    found = []
    for name in content.chunks:
        part, _, rest = name.partition(".")
        if part != number or rest == "splats":
            continue
        attribute, _, what = rest.partition(".")
        if what not in ("book", "index"):
            raise content.fault(name, "a codebook or its indices", repr(name))
        try:
            _check_attribute(attribute, content.sh_degree)
        except SceneRepError as error:
            raise content.fault(name, "an attribute of the file", error.message) from error
        if what == "book":
            found.append(attribute)
        content.chunk(f"{part}.{attribute}.book")
    return found


def _check_attribute(attribute: str, sh_degree: int) -> None:
    if attribute not in ATTRIBUTES:
        raise SceneRepError(f"{attribute!r} has no codebook", f"use one of {', '.join(ATTRIBUTES)}")
    name, first, width = ATTRIBUTES[attribute]
    if name == "sh" and first + width > 3 * (sh_degree + 1) ** 2:
        raise SceneRepError(f"{attribute!r} needs a higher SH degree than {sh_degree}")


def _codebook(content: ChunkedFile, number: str, attribute: str, n: int) -> Codebook:
    name, index = f"{number}.{attribute}.book", f"{number}.{attribute}.index"
    chunk, stream = content.chunk(name), content.chunk(index)
    if len(chunk) < _BOOK.size:
        raise content.fault(name, f"a head of {_BOOK.size} bytes", f"{len(chunk)}", len(chunk))
    size, optional, zero, width, step = _BOOK.unpack_from(chunk)
    if not 0 <= size <= MAX_SYMBOLS or optional > 1 or zero or width != ATTRIBUTES[attribute][2]:
        raise content.fault(name, f"up to {MAX_SYMBOLS} codewords of {ATTRIBUTES[attribute][2]} integers", f"{width}")
    if not (2.0**-100 <= step <= 2.0**30) or (size == 0 and n and not optional):  # nan too
        raise content.fault(name, "a positive step and codewords", f"{step}, {size}", 8)
    rows, fault = decode_rows(chunk[_BOOK.size :], size, width)
    if fault is not None:
        raise content.fault(name, "a sound codebook", fault, _BOOK.size)
    indices, fault = decode_symbols(stream, n, max(size, 1), optional=bool(optional))
    if fault is None and size == 0 and (indices >= 0).any():
        fault = "an index into an empty codebook"
    if fault is not None:
        raise content.fault(index, "sound indices", fault)
    return Codebook(attribute, rows, step, indices)
