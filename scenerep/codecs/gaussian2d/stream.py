"""Quantised Gaussians to bytes and back: in Morton order, as differences of neighbours where they are shorter."""

from __future__ import annotations

import struct

import numpy as np

from scenerep.codecs.gaussian2d.quantised import COLOUR, LARGEST, SMALLEST, TILT, Quantised, covered, rows_of
from scenerep.coding.symbols import INTEGERS_PER_BYTE, decode_rows, encode_rows
from scenerep.errors import FormatError

_HEADER = struct.Struct("<BIIIBHH3B")
_DEEP, _GREY = 1, 2
_COPY = "get a fresh copy of the file"
PIXELS_PER_BYTE = 16384
GRID = 1 << 12
"""Positions along a side at most: two of them and their order fit into 24 bits."""
OVERLAP = 1024
"""Gaussians over a pixel at most, on average: what a small file can ask of the decoder."""


def cell_of(width: int, height: int) -> int:
    """Half pixels between positions: one, or what keeps within the grid."""
    return max(1, -(-2 * max(width, height) // (GRID - 1)))


def write(q: Quantised, *, deep: bool, grey: bool) -> bytes:
    """The payload."""
    code = _morton(q.values[:, 0], q.values[:, 1])
    order = np.argsort(code, kind="stable")
    values = q.values[order]
    columns = [np.diff(code[order], prepend=0)]
    flags = 0
    for j in range(2, 8):
        plain = values[:, j]
        change = np.diff(plain, prepend=0)
        shorter = len(encode_rows(change[:, None])) < len(encode_rows(plain[:, None]))
        flags |= shorter << (j - 2)
        columns.append(change if shorter else plain)
    head = _HEADER.pack(_DEEP * deep | _GREY * grey, q.width, q.height, len(values), flags, *q.steps, *q.background)
    stream = encode_rows(np.column_stack(columns)) if len(values) else b""
    payload = head + stream
    return payload + bytes(max(0, -(-q.width * q.height // PIXELS_PER_BYTE) - len(payload)))


def read(payload: bytes, file: str, base: int) -> tuple[Quantised, bool, bool]:
    """(Gaussians, deep, grey). Raises: FormatError."""
    if len(payload) < _HEADER.size:
        raise FormatError(file, f"a header of {_HEADER.size} bytes", str(len(payload)), base, _COPY)
    kind, width, height, count, flags, luma, chroma, *background = _HEADER.unpack_from(payload)
    if kind & ~(_DEEP | _GREY) or flags >> 6:
        raise FormatError(file, "unused bits to be zero", f"{kind:#x}, {flags:#x}", base)
    if not (width and height and width * height <= PIXELS_PER_BYTE * len(payload)):
        raise FormatError(file, f"a picture that fits into {len(payload)} bytes", f"{width} x {height}", base + 1)
    if not (luma and chroma):
        raise FormatError(file, "steps of the colours", f"{luma}, {chroma}", base + 14)
    values, fault = np.zeros((0, 7), np.int32), None
    if count > INTEGERS_PER_BYTE * len(payload):
        raise FormatError(file, f"Gaussians that fit into {len(payload)} bytes", str(count), base + 9)
    if count:
        values, fault = decode_rows(payload[_HEADER.size :], count, 7)
    if fault is not None:
        raise FormatError(file, "a sound stream of Gaussians", fault, base + _HEADER.size, _COPY)
    wide = values.astype(np.int64)
    for j in range(6):
        if flags >> j & 1:
            wide[:, 1 + j] = np.cumsum(wide[:, 1 + j])
    x, y = _positions(np.cumsum(wide[:, 0]))
    cell = cell_of(width, height)
    low = [0, 0, SMALLEST, SMALLEST, -TILT, *[-COLOUR] * 3]
    high = [2 * width // cell, 2 * height // cell, LARGEST, LARGEST, TILT, *[COLOUR] * 3]
    table = np.column_stack([x, y, wide[:, 1:]])
    if len(table) and (np.any(wide[:, 0] < 0) or np.any(table < low) or np.any(table > high)):
        raise FormatError(file, "Gaussians within their bounds", "others", base + _HEADER.size, _COPY)
    r, g, b = background
    q = Quantised(width, height, cell, (luma, chroma), (r, g, b), table.astype(np.int32))
    if covered(q, rows_of(q)) > OVERLAP * width * height:
        raise FormatError(file, f"at most {OVERLAP} Gaussians over a pixel", "more", base + _HEADER.size)
    return q, bool(kind & _DEEP), bool(kind & _GREY)


def _morton(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _spread(x.astype(np.int64)) | _spread(y.astype(np.int64)) << 1


def _spread(x: np.ndarray) -> np.ndarray:
    for shift, mask in ((8, 0xFF00FF), (4, 0xF0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        x = (x | x << shift) & mask
    return x


def _positions(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def gather(c: np.ndarray) -> np.ndarray:
        c = c & 0x55555555
        for shift, mask in ((1, 0x33333333), (2, 0xF0F0F0F), (4, 0xFF00FF), (8, 0xFFFF)):
            c = (c | c >> shift) & mask
        return c

    return gather(code), gather(code >> 1)
