"""Splats with codebooks: what was written comes back, and broken files are refused."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from quantised_scenes import quantised_scene

from scenerep.coding import Quantiser, decode_file, dequantise, summarise
from scenerep.coding.chunked import read_chunked, write_chunked
from scenerep.coding.codebook_splats import ATTRIBUTES, Codebook, Part, encode_parts, part_scene
from scenerep.coding.scene_codec import sort
from scenerep.errors import FormatError, SceneRepError


def part(n: int, names: tuple[str, ...], seed: int = 0, optional: bool = True) -> Part:
    rng = np.random.default_rng(seed)
    q = quantised_scene(n, 0, 1, seed)
    q = replace(q, quantiser=Quantiser((0, 0, 0), 0.01, 10), gains=(), metadata={})
    books = []
    for name in names:
        rows = rng.integers(-40, 40, (7, ATTRIBUTES[name][2])).astype(np.int32)
        books.append(Codebook(name, rows, 0.125, rng.integers(-1 if optional else 0, 7, n).astype(np.int32)))
    return Part(q, tuple(books))


def test_everything_comes_back() -> None:
    parts = [part(60, ("scale", "rotation", "dc", "sh1", "sh2", "sh3"), 1), part(40, ("colour2",), 2, optional=False)]
    data = encode_parts(parts, 3, {"method": "x"})
    found = decode_file(data).scene
    assert (len(found), found.sh_degree, found.metadata) == (100, 3, {"method": "x"})
    at = 0
    for one in parts:
        # Sorting is what encoding does: numbers say where each Gaussian went.
        numbered = replace(one.splats, opacities=np.arange(len(one.splats)))
        order = sort(numbered)[0].opacities
        expected = part_scene(one, 3).select(order)
        for name, array in expected.arrays().items():
            np.testing.assert_array_equal(found.arrays()[name][at : at + len(order)], array, err_msg=name)
        at += len(order)
    assert sum(summarise(data).streams.values()) == len(data)
    assert decode_file(data).digest != decode_file(encode_parts(parts[:1], 3, {})).digest


def test_missing_indices_keep_the_numbers() -> None:
    one = part(50, ("scale",))
    scene, plain = part_scene(one, 0), dequantise(one.splats)
    absent = one.codebooks[0].indices < 0
    assert 0 < absent.sum() < 50
    np.testing.assert_array_equal(scene.log_scales[absent], plain.log_scales[absent])
    assert (scene.log_scales[~absent] != plain.log_scales[~absent]).any()


def test_nothing_and_one() -> None:
    for n in (0, 1):
        assert len(decode_file(encode_parts([part(n, ("dc",))], 0, {})).scene) == n


def test_what_cannot_be_written() -> None:
    with pytest.raises(SceneRepError, match="higher SH degree"):
        encode_parts([part(5, ("sh2",))], 1, {})
    with pytest.raises(SceneRepError, match="0 parts"):
        encode_parts([], 1, {})


@pytest.mark.parametrize("count", [1500, pytest.param(50_000, marks=pytest.mark.slow)])
def test_mutated_files_are_refused_or_decoded(count: int, rng: np.random.Generator) -> None:
    """Damage within chunks whose checksums were made right again."""
    data = encode_parts([part(40, ("scale", "sh1")), part(30, ("colour2",))], 2, {})
    content = read_chunked(data)
    refused = 0
    for _ in range(count):
        chunks = dict(content.chunks)
        name = list(chunks)[int(rng.integers(len(chunks)))]
        broken = bytearray(chunks[name])
        for _ in range(int(rng.integers(1, 4))):
            broken[int(rng.integers(min(len(broken), 40 if rng.random() < 0.5 else len(broken))))] = int(
                rng.integers(256)
            )
        if rng.random() < 0.2:
            del broken[int(rng.integers(len(broken))) :]
        chunks[name] = bytes(broken)
        try:
            scene = decode_file(write_chunked(replace(content, chunks=chunks))).scene
        except FormatError as error:
            assert error.offset is not None
            refused += 1
        else:
            assert all(np.isfinite(array).all() for array in scene.arrays().values())
    assert refused > count / 4


@pytest.mark.parametrize(
    ("at", "form", "value", "message"),
    [
        (0, "<I", 0xFFFFFFFF, "codewords"),
        (0, "<I", 60_000, "do not fit"),
        (0, "<I", 0, "positive step and codewords"),
        (5, "<B", 1, "codewords"),
        (6, "<H", 4, "codewords"),
        (8, "<f", float("nan"), "step"),
        (8, "<f", -1.0, "step"),
    ],
)
def test_hostile_codebooks(at: int, form: str, value: float, message: str) -> None:
    content = read_chunked(encode_parts([part(20, ("scale",), optional=False)], 0, {}))
    broken = bytearray(content.chunks["0.scale.book"])
    struct.pack_into(form, broken, at, value)
    chunks = dict(content.chunks) | {"0.scale.book": bytes(broken)}
    with pytest.raises(FormatError, match=message):
        decode_file(write_chunked(replace(content, chunks=chunks)))
    assert zlib.crc32(bytes(broken)) != zlib.crc32(content.chunks["0.scale.book"])


@pytest.mark.parametrize("name", ["1.splats", "0.scale.more", "0.sh1.book", "x", "0.scale"])
def test_chunks_that_do_not_belong(name: str) -> None:
    content = read_chunked(encode_parts([part(20, ("scale",))], 0, {}))
    with pytest.raises(FormatError):
        decode_file(write_chunked(replace(content, chunks=dict(content.chunks) | {name: b"123"})))
