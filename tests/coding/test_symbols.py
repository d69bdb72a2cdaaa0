"""Codebooks and indices: they come back, cost what they should, and both coders write the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenerep.coding.reference.range_coder import CodingError, RangeDecoder, RangeEncoder
from scenerep.coding.reference.symbols import code_rows, code_symbols
from scenerep.coding.symbols import INTEGERS_PER_BYTE, decode_rows, decode_symbols, encode_rows, encode_symbols
from scenerep.errors import SceneRepError


@settings(max_examples=80, deadline=None)
@given(st.data(), st.integers(1, 70), st.booleans())
def test_indices_come_back_from_both_coders(data: st.DataObject, size: int, optional: bool) -> None:
    symbols = data.draw(st.lists(st.integers(-1 if optional else 0, size - 1), max_size=60))
    stream = encode_symbols(np.array(symbols, np.int32), size, optional=optional)
    coder = RangeEncoder()
    code_symbols(coder, symbols, size, optional)
    assert coder.finish() == stream
    got, fault = decode_symbols(stream, len(symbols), size, optional=optional)
    assert fault is None
    assert got.tolist() == symbols == code_symbols(RangeDecoder(stream), [0] * len(symbols), size, optional)


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 5))
def test_rows_come_back_from_both_coders(data: st.DataObject, width: int) -> None:
    integer = st.one_of(st.integers(-20, 20), st.integers(-(1 << 24) + 1, (1 << 24) - 1))
    rows = data.draw(st.lists(st.lists(integer, min_size=width, max_size=width), max_size=20))
    stream = encode_rows(np.array(rows, np.int32).reshape(-1, width))
    coder = RangeEncoder()
    code_rows(coder, rows)
    plain = coder.finish()
    assert stream[: len(plain)] == plain
    assert not any(stream[len(plain) :])
    got, fault = decode_rows(stream, len(rows), width)
    assert fault is None
    assert got.tolist() == rows


def test_the_cost_is_that_of_the_learned_probabilities(rng: np.random.Generator) -> None:
    """Within 4 % of the entropy of independent indices, the cost of learning the probabilities included."""
    p = rng.dirichlet(np.full(200, 0.3))
    symbols = rng.choice(200, 30_000, p=p)
    counts = np.bincount(symbols, minlength=200) / len(symbols)
    entropy = -(counts[counts > 0] * np.log2(counts[counts > 0])).sum() * len(symbols) / 8
    assert entropy < len(encode_symbols(symbols, 200)) < 1.04 * entropy
    absent = np.where(rng.random(30_000) < 0.9, -1, symbols)
    assert len(encode_symbols(absent, 200, optional=True)) < 0.1 * entropy * 1.15 + 0.469 * 30_000 / 8 * 1.03


def test_damaged_streams_give_a_fault_or_other_indices(rng: np.random.Generator) -> None:
    """Alike in both decoders; a fault comes where a stream asks for more bytes than it has."""
    faults = 0
    stream = encode_symbols(rng.integers(0, 37, 50), 37)
    for size in rng.integers(0, len(stream), 40):
        broken = bytearray(stream[:size])
        if size:
            broken[int(rng.integers(size))] ^= 1 << int(rng.integers(8))
        got, fault = decode_symbols(bytes(broken), 50, 37)
        try:
            assert code_symbols(RangeDecoder(bytes(broken)), [0] * 50, 37, False) == got.tolist()
        except CodingError as error:
            assert str(error) == fault
            faults += 1
        else:
            assert got.max() < 37
    assert faults > 10


def test_counts_are_not_believed() -> None:
    assert "do not fit" in str(decode_rows(b"1234", 1 << 40, 3)[1])
    assert "do not fit" in str(decode_rows(b"1234", 1, 0)[1])
    zeros = np.zeros((1000, 4), np.int32)
    stream = encode_rows(zeros)
    assert len(stream) == 4000 / INTEGERS_PER_BYTE
    np.testing.assert_array_equal(decode_rows(stream, 1000, 4)[0], zeros)


@pytest.mark.parametrize("symbols", [[-1], [3]])
def test_indices_beyond_the_codebook(symbols: list[int]) -> None:
    with pytest.raises(SceneRepError, match="codebook of 3"):
        encode_symbols(np.array(symbols), 3)
