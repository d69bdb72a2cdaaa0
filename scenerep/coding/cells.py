"""The coder of one cell: the native one, or its plain reference."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from scenerep.native import native

Fault = tuple[int, int, str]
"""Chunk within the cell, stream, and what is wrong."""


class CellCoder(Protocol):
    """Codes the Gaussians of a cell, given by layer and then by Morton code.

    positions int32 [n, 3]; values int32 [n, 10 + 3 k], the components of the attribute streams; counts int64, one for
    each layer. Streams come as one list of bytes for each layer. `costs` asks for float32 [n, 8] bits as well.
    """

    def encode(
        self, positions: np.ndarray, values: np.ndarray, counts: np.ndarray, depth: int, costs: bool
    ) -> tuple[list[list[bytes]], np.ndarray]: ...

    def decode(
        self, streams: list[list[bytes]], counts: np.ndarray, layers: np.ndarray, depth: int, sh_degree: int
    ) -> tuple[np.ndarray, np.ndarray, Fault | None]: ...


class NativeCellCoder:
    """`native/coding_cell.cpp`."""

    def encode(
        self, positions: np.ndarray, values: np.ndarray, counts: np.ndarray, depth: int, costs: bool
    ) -> tuple[list[list[bytes]], np.ndarray]:
        return native().encode_cell(positions, values, counts, depth, costs)

    def decode(
        self, streams: list[list[bytes]], counts: np.ndarray, layers: np.ndarray, depth: int, sh_degree: int
    ) -> tuple[np.ndarray, np.ndarray, Fault | None]:
        return native().decode_cell(streams, counts, layers, depth, sh_degree)


def cell_coder(backend: str) -> CellCoder:
    assert backend == "native", backend
    return NativeCellCoder()
