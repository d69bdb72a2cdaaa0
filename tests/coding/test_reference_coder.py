"""The native coder against the plain one: the same bytes, the same integers, the same refusals."""

from __future__ import annotations

import numpy as np
import pytest
from quantised_scenes import quantised_scene

from scenerep.coding import cells, reference
from scenerep.coding.scene_codec import sort, values_of


def _cell(n: int, degree: int, layers: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    q, parts = sort(quantised_scene(n, degree, layers, seed))
    counts = np.array([len(part) for part in (parts[0] if parts else [])], np.int64)
    return q.positions, values_of(q, np.arange(len(q))), counts, q.quantiser.depth


@pytest.mark.parametrize(("n", "degree", "layers", "seed"), [(1, 0, 1, 0), (2, 3, 1, 1), (60, 1, 4, 2), (250, 3, 3, 3)])
def test_both_coders_write_the_same_bytes_and_read_them_alike(n: int, degree: int, layers: int, seed: int) -> None:
    positions, values, counts, depth = _cell(n, degree, layers, seed)
    streams, _ = cells.encode_cell(positions, values, counts, depth, False)
    assert reference.encode_cell(positions, values, counts, depth) == streams
    present = [layer for layer, count in enumerate(counts) if count]
    kept = [streams[layer] for layer in present]
    numbers = np.array(present, np.int64)
    for decode in (cells.decode_cell, reference.decode_cell):
        got_positions, got_values, fault = decode(kept, counts[present], numbers, depth, degree)
        assert fault is None
        np.testing.assert_array_equal(got_positions, positions)
        np.testing.assert_array_equal(got_values, values)


def test_many_points_in_one_place() -> None:
    positions = np.tile(np.array([[5, 700, 33]], np.int32), (40, 1))
    values = np.arange(400, dtype=np.int32).reshape(40, 10) - 200
    counts = np.array([40], np.int64)
    streams, _ = cells.encode_cell(positions, values, counts, 10, False)
    assert reference.encode_cell(positions, values, counts, 10) == streams
    np.testing.assert_array_equal(reference.decode_cell(streams, counts, np.zeros(1, np.int64), 10, 0)[1], values)


def test_both_decoders_refuse_alike(rng: np.random.Generator) -> None:
    """Damaged streams: the same fault, or the same wrong integers, which the file's checksums then catch."""
    positions, values, counts, depth = _cell(40, 1, 1, 4)
    streams, _ = cells.encode_cell(positions, values, counts, depth, False)
    for _ in range(60):
        broken = [bytearray(part) for part in streams[0]]
        part = broken[int(rng.integers(len(broken)))]
        part[int(rng.integers(len(part)))] ^= 1 << int(rng.integers(8))
        damaged = [[bytes(part) for part in broken]]
        fast = cells.decode_cell(damaged, counts, np.zeros(1, np.int64), depth, 1)
        slow = reference.decode_cell(damaged, counts, np.zeros(1, np.int64), depth, 1)
        assert fast[2] == slow[2]
        if fast[2] is None:
            np.testing.assert_array_equal(fast[0], slow[0])
            np.testing.assert_array_equal(fast[1], slow[1])


def test_the_golden_file_decodes_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    from scenerep.coding import decode, scene_codec

    data = (Path(__file__).parent / "golden.srz").read_bytes()
    native = decode(data).digest()
    monkeypatch.setattr(scene_codec, "decode_cell", reference.decode_cell)
    assert decode(data).digest() == native
