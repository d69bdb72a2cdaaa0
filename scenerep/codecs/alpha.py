"""The alpha plane, without loss: differences between rows, by the project's coder of symbols."""

from __future__ import annotations

import numpy as np

from scenerep.coding.symbols import decode_symbols, encode_symbols
from scenerep.errors import FormatError

# A plane of one value takes next to nothing; the encoder fills up, so that a small file cannot ask for much memory.
_PIXELS_PER_BYTE = 16384


def encode_alpha(alpha: np.ndarray) -> bytes:
    """uint8 or uint16 [h, w] -> bytes."""
    above = np.vstack([np.zeros_like(alpha[:1]), alpha[:-1]])
    stream = encode_symbols((alpha - above).ravel(), int(np.iinfo(alpha.dtype).max) + 1)  # wraps round
    return stream + bytes(max(0, -(-alpha.size // _PIXELS_PER_BYTE) - len(stream)))


def decode_alpha(stream: bytes, height: int, width: int, depth: int, file: str, offset: int) -> np.ndarray:
    """The inverse. Raises: FormatError."""
    if height * width > _PIXELS_PER_BYTE * len(stream):
        raise FormatError(file, f"alpha of {width} x {height}", f"{len(stream)} bytes", offset)
    symbols, fault = decode_symbols(stream, height * width, 1 << depth)
    if fault is not None:
        raise FormatError(file, "a sound stream of alpha", fault, offset)
    dtype = np.uint8 if depth == 8 else np.uint16
    return np.cumsum(symbols.astype(dtype).reshape(height, width), axis=0, dtype=dtype)
