"""Streams of codebooks and of indices into them, in native/coding_symbols.cpp. The plain twin: reference/symbols.py.

An index is coded by what was learned from those before it, so no table of probabilities stands in the file.
n = indices.
"""

from __future__ import annotations

import numpy as np

from scenerep.coding.quantiser import INTEGER_LIMIT
from scenerep.errors import SceneRepError
from scenerep.native import native

MAX_SYMBOLS = 1 << 16
"""Codewords of a codebook at most."""
MAX_WIDTH = 256
"""Integers of a codeword at most."""

# A stream takes at least a bit for an integer (the encoder fills up), so that a small file cannot ask for much memory.
INTEGERS_PER_BYTE = 8


def encode_symbols(symbols: np.ndarray, size: int, *, optional: bool = False) -> bytes:
    """A stream of indices [n] in 0 .. size - 1; with `optional`, -1 stands for none."""
    symbols = np.ascontiguousarray(symbols, np.int32)
    low = -1 if optional else 0
    if not 1 <= size <= MAX_SYMBOLS or (symbols.size and not low <= symbols.min() <= symbols.max() < size):
        raise SceneRepError(f"indices leave a codebook of {size} (at most {MAX_SYMBOLS})")
    return native().encode_symbols(symbols, size, optional)


def decode_symbols(stream: bytes, n: int, size: int, *, optional: bool = False) -> tuple[np.ndarray, str | None]:
    """int32 [n], and what is wrong with the stream, or None.

    n and size are the caller's to check; memory is 4 n bytes and 36 for each of `size`.
    """
    symbols, fault = native().decode_symbols(stream, n, size, optional)
    return (np.empty(0, np.int32), fault) if symbols is None else (symbols, None)


def encode_rows(values: np.ndarray) -> bytes:
    """A stream of integers [n, width], each column with probabilities of its own."""
    values = np.ascontiguousarray(values, np.int32)
    if not 1 <= values.shape[1] <= MAX_WIDTH:
        raise SceneRepError(f"rows of {values.shape[1]} integers cannot be coded", f"use 1 to {MAX_WIDTH}")
    if values.size and np.abs(values.astype(np.int64)).max() >= INTEGER_LIMIT:
        raise SceneRepError("integers beyond +-2^24 cannot be coded", "use a larger step")
    stream = native().encode_rows(values)
    return stream + bytes(max(0, -(-values.size // INTEGERS_PER_BYTE) - len(stream)))


def decode_rows(stream: bytes, n: int, width: int) -> tuple[np.ndarray, str | None]:
    """int32 [n, width], and what is wrong with the stream, or None. Refuses more integers than it can hold."""
    if not 1 <= width <= MAX_WIDTH or n * width > INTEGERS_PER_BYTE * len(stream):
        return np.empty((0, 1), np.int32), f"{n} rows of {width} integers do not fit into {len(stream)} bytes"
    values, fault = native().decode_rows(stream, n, width)
    return (np.empty((0, width), np.int32), fault) if values is None else (values, None)
