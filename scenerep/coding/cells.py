"""The coder of one cell, in native/coding_cell.cpp.

n = Gaussians of the cell, by layer and then by Morton code; k = SH coefficients above the constant one.
"""

from __future__ import annotations

import numpy as np

from scenerep.native import native

Fault = tuple[int, int, str]
"""Chunk within the cell, stream, and what is wrong."""


def encode_cell(
    positions: np.ndarray, values: np.ndarray, counts: np.ndarray, depth: int, costs: bool
) -> tuple[list[list[bytes]], np.ndarray]:
    """The streams of each layer, and float32 [n, 8] bits of each Gaussian if `costs` is set.

    Args:
        positions: int32 [n, 3].
        values: int32 [n, 10 + 3 k], the components of the attribute streams.
        counts: int64, Gaussians of each layer.
    """
    return native().encode_cell(positions, values, counts, depth, costs)


def decode_cell(
    streams: list[list[bytes]], counts: np.ndarray, layers: np.ndarray, depth: int, sh_degree: int
) -> tuple[np.ndarray, np.ndarray, Fault | None]:
    """Positions and values of the chunks given, or what is broken. Streams left out at the end leave zeros."""
    return native().decode_cell(streams, counts, layers, depth, sh_degree)
