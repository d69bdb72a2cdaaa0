"""The coder gives back every integer, layer by layer, and refuses whatever is broken."""

from __future__ import annotations

import itertools
import re
import resource
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quantised_scenes import overfull_cell, quantised_scene

from scenerep.coding import Quantiser, container, decode, dequantise, encode, stream_bits, symbol_bits
from scenerep.coding.container import read_head
from scenerep.coding.order import coded_order
from scenerep.coding.scene_codec import sort
from scenerep.errors import FormatError


@pytest.mark.parametrize(
    ("n", "degree", "layers"), [(0, 0, 1), (1, 0, 1), (1, 3, 4), (2, 1, 1), (500, 3, 5), (3000, 0, 1), (2000, 2, 3)]
)
def test_every_integer_comes_back(n: int, degree: int, layers: int) -> None:
    q = quantised_scene(n, degree, layers)
    data = encode(q)
    got = decode(data)
    assert got.digest() == sort(q)[0].digest()
    assert (got.quantiser, got.gains, got.layer_count) == (q.quantiser, q.gains, q.layer_count)
    assert got.metadata["licence"] == "CC0"
    assert encode(got) == data


def test_many_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded_order, "__defaults__", (300,))
    q = quantised_scene(2000)
    data = encode(q)
    assert len({chunk.cell for chunk in container.read_head(data).chunks}) == 7
    assert decode(data).digest() == sort(q)[0].digest()


@pytest.mark.parametrize("value", [-(1 << 24) + 1, (1 << 24) - 1])
def test_the_largest_integers(value: int) -> None:
    q = quantised_scene(40)
    extreme = np.where(np.arange(40)[:, None] % 2, value, -value).repeat(3, axis=1)
    q = replace(q, log_scales=extreme, rotations=extreme, colours=extreme, opacities=extreme[:, 0])
    assert decode(encode(q)).digest() == sort(q)[0].digest()


def test_all_at_one_point() -> None:
    q = quantised_scene(5000, 0, 1)
    q = replace(q, **{name: np.zeros_like(array) for name, array in q.arrays().items()})
    data = encode(q)
    assert len(data) >= 5000 / container.GAUSSIANS_PER_BYTE
    assert decode(data).digest() == q.digest()


def test_cut_off_and_left_out() -> None:
    q, _ = sort(quantised_scene(2000))
    data = encode(q)
    chunks = container.read_head(data).chunks
    for layers in (1, 2):
        want = q.select(q.layers < layers)
        end = max(chunk.end for chunk in chunks if chunk.layer < layers)
        for part in (data[:end], data[: end + 5]):
            got = decode(part)
            assert got.digest() == want.digest()
            assert got.decoded_layers == layers
            np.testing.assert_allclose(
                dequantise(got).log_scales - got.log_scales * q.quantiser.log_scale, 0.125 * (layers - 1), atol=1e-5
            )
        assert decode(data, max_layer=layers - 1).digest() == want.digest()
    assert not decode(data, sh_degree=1).sh[:, 3:].any()
    assert decode(data, sh_degree=1).sh[:, :3].any()
    for end in (0, 7, 20, 90, chunks[0].offset, chunks[0].end - 1):
        with pytest.raises(FormatError):
            decode(data[:end])


def test_costs_add_up_to_the_file() -> None:
    q = quantised_scene(4000)
    streams, costs = stream_bits(q), symbol_bits(q)
    assert sum(streams.values()) == 8 * len(encode(q))
    for stream, names in {"geometry": ["positions"], "shape": ["log_scales", "rotations"], "sh1": ["sh1"]}.items():
        assert sum(costs[name].sum() for name in names) == pytest.approx(streams[stream], rel=0.03)
    assert costs["sh2"][q.sh[:, 3:].any(axis=(1, 2))].mean() > 5 * costs["sh2"][~q.sh[:, 3:].any(axis=(1, 2))].mean()


def test_prediction_pays() -> None:
    """Values that vary smoothly over space cost less than the same values in another order."""
    q = quantised_scene(4000, 0, 1)
    shuffled = replace(q, colours=q.colours[np.random.default_rng(1).permutation(4000)])
    assert stream_bits(q)["colour"] < 0.8 * stream_bits(shuffled)["colour"]


def _reseal(data: bytearray) -> bytes:
    """With the checksums of the head and of all streams made right, as far as the head can still be followed."""
    head = struct.unpack_from("<I", data, 12)[0]
    if 100 <= head <= len(data):
        data[head - 4 : head] = struct.pack("<I", zlib.crc32(data[: head - 4]))
        try:
            found = container.read_head(bytes(data))
        except FormatError:
            return bytes(data)
        streams = [(chunk.place(i), size) for chunk in found.chunks for i, size in enumerate(chunk.lengths)]
        entry = (len(streams) // len(found.chunks)) * 8 + 40
        start = head - 4 - entry * len(found.chunks)
        for i, (place, size) in enumerate(streams):
            row, column = divmod(i, len(found.chunks[0].lengths))
            struct.pack_into("<I", data, start + entry * row + 44 + 8 * column, zlib.crc32(data[place : place + size]))
        data[head - 4 : head] = struct.pack("<I", zlib.crc32(data[: head - 4]))
    return bytes(data)


def test_resealing_changes_nothing() -> None:
    data = encode(quantised_scene(200))
    assert _reseal(bytearray(data)) == data


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_mutated_files_are_refused_or_decoded(count: int) -> None:
    """No other error, no file that takes long (5 s is a hang, not a speed), no memory beyond that of sound files."""
    rng = np.random.default_rng(5)
    data = encode(quantised_scene(150))
    refused = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(count):
        broken = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(broken)))
            broken[at] = int(rng.integers(0, 256))
        if i % 5 == 0:
            del broken[int(rng.integers(0, len(broken))) :]
        elif i % 2:
            broken = _reseal(broken)
        begin = time.monotonic()
        try:
            assert len(decode(bytes(broken))) <= 150
        except FormatError:
            refused += 1
        assert time.monotonic() - begin < 5
    assert refused > count / 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # kB


@pytest.mark.parametrize(
    ("offset", "value"),
    list(itertools.product([12, 16, 20, 24], [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])),
)
def test_hostile_counts(offset: int, value: int) -> None:
    data = bytearray(encode(quantised_scene(100)))
    struct.pack_into("<I", data, offset, value)
    with pytest.raises(FormatError) as caught:
        decode(_reseal(data))
    assert caught.value.offset is not None


def test_a_cell_of_all_layers_is_bounded() -> None:
    with pytest.raises(FormatError, match="at most 65536 Gaussians in all layers"):
        read_head(overfull_cell())


def test_deeply_nested_metadata() -> None:
    q = quantised_scene(3)
    marker = "N" * 60000
    data = encode(replace(q, metadata={"licence": marker}))
    nested = data.replace(b'"' + marker.encode() + b'"', b"[" * 30001 + b"]" * 30001)
    with pytest.raises(FormatError, match="JSON"):
        decode(_reseal(bytearray(nested)))


def test_the_example_of_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats" / "srz.md").read_text()
    example = bytes.fromhex("".join(re.findall(r"^[0-9a-f]{8}: (.*)$", text, re.MULTILINE)))
    head = container.Head(Quantiser((0, 0, 0), 1.0, 1), 0, 1, ())
    assert container.write_container(head, []) == example
    assert len(decode(example)) == 0


def test_a_file_written_before_reads_the_same() -> None:
    """The bytes of version 3 are fixed: a change of models or contexts needs a new version."""
    golden = (Path(__file__).parent / "golden.srz").read_bytes()
    assert decode(golden).digest() == (Path(__file__).parent / "golden.sha256").read_text().strip()
