"""Files of other kinds: named chunks come back, are refused when damaged, and reach every reader by their kind."""

from __future__ import annotations

import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quantised_scenes import quantised_scene

from scenerep.coding import decode, decode_file, dequantise, encode, kinds, summarise
from scenerep.coding.chunked import ChunkedFile, read_chunked, write_chunked
from scenerep.coding.kinds import Decoded, Kind
from scenerep.errors import FormatError, SceneRepError
from scenerep.io import srz

KIND = 4242


def decode_nested(content: ChunkedFile) -> Decoded:
    """A kind for these tests: a whole file of splats in a chunk."""
    q = decode(content.chunk("splats"), file=content.file)
    return Decoded(dequantise(q), q.digest())


@pytest.fixture
def nested(monkeypatch: pytest.MonkeyPatch) -> ChunkedFile:
    monkeypatch.setitem(sys.modules, "nested_kind", sys.modules[__name__])
    monkeypatch.setitem(kinds.KINDS, KIND, Kind("nested", "nested_kind:decode_nested"))
    q = quantised_scene(50)
    return ChunkedFile(KIND, 50, 2, {"splats": encode(q), "empty": b""}, metadata={"licence": "CC0"}, antialiased=True)


def test_a_kind_reaches_every_reader(nested: ChunkedFile) -> None:
    data = write_chunked(nested)
    found = decode_file(data)
    assert found.digest == decode(nested.chunks["splats"]).digest()
    scene = srz.read(data)
    assert (scene.antialiased, scene.metadata) == (True, {"licence": "CC0"})
    np.testing.assert_array_equal(scene.sh, found.scene.sh)
    assert not decode_file(data, sh_degree=1).scene.sh[:, 4:].any()
    assert decode_file(data, sh_degree=1).scene.sh[:, 1:4].any()
    said = summarise(data)
    assert (said.kind, said.count, said.sh_degree, said.antialiased) == ("nested", 50, 2, True)
    assert sum(said.streams.values()) == len(data)


def test_splats_are_decoded_as_ever() -> None:
    golden = (Path(__file__).parent / "golden.srz").read_bytes()
    assert decode_file(golden).digest == decode(golden).digest()
    assert summarise(golden).kind == "splats"
    assert sum(summarise(golden).streams.values()) == len(golden)
    assert encode(decode(golden)) == golden


def test_a_kind_of_the_future(nested: ChunkedFile) -> None:
    data = write_chunked(replace(nested, kind=77))
    with pytest.raises(FormatError, match=r"at byte 10: expected a kind among 1 \(splats\), .*found 77") as caught:
        decode_file(data)
    assert "update" in caught.value.hint


@pytest.mark.parametrize("change", [{"count": 51}, {"sh_degree": 1}])
def test_what_the_head_says_holds(nested: ChunkedFile, change: dict) -> None:
    with pytest.raises(FormatError, match="of degree 2"):
        decode_file(write_chunked(replace(nested, **change)))


def test_a_chunk_that_is_missing(nested: ChunkedFile) -> None:
    with pytest.raises(FormatError, match="a chunk 'splats', found other"):
        decode_file(write_chunked(replace(nested, chunks={"other": b"x"})))
    with pytest.raises(SceneRepError, match="cannot name"):
        write_chunked(replace(nested, chunks={"Not a name": b""}))


def test_damaged_files_are_refused(nested: ChunkedFile, rng: np.random.Generator) -> None:
    data = write_chunked(nested)
    for _ in range(1500):
        broken = bytearray(data)
        at = int(rng.integers(0, 160 if rng.random() < 0.5 else len(data)))
        broken[at] ^= 1 << int(rng.integers(8))
        if rng.random() < 0.5:  # whoever wrote it knew the checksum
            length = struct.unpack_from("<I", data, 12)[0]
            broken[length - 4 : length] = struct.pack("<I", zlib.crc32(broken[: length - 4]))
        try:
            assert len(decode_file(bytes(broken)).scene) == 50
        except FormatError:
            continue
        assert at < 120  # metadata and flags may differ and be sound
    for size in [*range(0, 120, 7), len(data) - 1]:
        with pytest.raises(FormatError):
            decode_file(data[:size])
    with pytest.raises(FormatError, match="1 more bytes"):
        read_chunked(data + b"x")


@pytest.mark.parametrize("offset", [12, 16, 20, 24])
@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_hostile_counts(nested: ChunkedFile, offset: int, value: int) -> None:
    data = bytearray(write_chunked(nested))
    struct.pack_into("<I", data, offset, value)
    length = struct.unpack_from("<I", data, 12)[0]
    if 32 < length <= len(data):
        data[length - 4 : length] = struct.pack("<I", zlib.crc32(data[: length - 4]))
    with pytest.raises(FormatError):
        decode_file(bytes(data))


@pytest.mark.parametrize("kind", ["codebooks", "anchors"])
def test_golden_files_of_other_kinds(kind: str) -> None:
    """Files written today stay readable."""
    folder = Path(__file__).parent
    golden = (folder / f"golden_{kind}.srz").read_bytes()
    assert decode_file(golden).digest == (folder / f"golden_{kind}.sha256").read_text().strip()
    assert summarise(golden).kind == kind
