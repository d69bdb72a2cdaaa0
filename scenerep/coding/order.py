"""The order in which a scene's Gaussians are coded: by layer, then by cell, then along the Morton curve.

A cell is a stretch of the Morton curve over all layers, a unit that is coded on its own and in parallel.
"""

from __future__ import annotations

import numpy as np

CELL_SIZE = 65536
"""Gaussians in a cell at most, all layers together, hence in a chunk (one cell of one layer)."""


def morton_codes(positions: np.ndarray) -> np.ndarray:
    """uint64 [n] of grid coordinates [n, 3] in 0 .. 2^20 - 1: bit 3 i + 2 is bit i of x, 3 i + 1 of y, 3 i of z."""
    codes = np.zeros(len(positions), np.uint64)
    for axis in range(3):
        codes |= _spread(positions[:, axis]) << np.uint64(2 - axis)
    return codes


def _spread(values: np.ndarray) -> np.ndarray:
    x = values.astype(np.uint64)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        x = (x | x << np.uint64(shift)) & np.uint64(mask)
    return x


def coded_order(positions: np.ndarray, layers: np.ndarray, cell_size: int = CELL_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """The permutation that sorts Gaussians as they are coded, and the cell of each in that order.

    Cells hold equal shares of the Gaussians. Equal positions keep their order, so that sorting twice changes nothing.

    Returns:
        int64 [n] indices, and int64 [n] cells, 0 being the first along the curve.
    """
    n = len(positions)
    codes = morton_codes(positions)
    along = np.lexsort((layers, codes))
    cells = -(-n // cell_size)
    cell = np.empty(n, np.int64)
    cell[along] = np.arange(n, dtype=np.int64) * cells // max(n, 1)
    order = np.lexsort((codes, cell, layers))
    return order, cell[order]
