"""Morton order: neighbours in space become neighbours in the file, which blocks and picture coders reward."""

from __future__ import annotations

import numpy as np

_BITS = 21  # three times 21 fit into 63 bits


def morton_order(points: np.ndarray) -> np.ndarray:
    """int64 [n]: sorts points [n, 3] along the Z-order curve of their bounding box; ties keep their order."""
    if len(points) == 0:
        return np.zeros(0, np.int64)
    low = points.min(axis=0).astype(np.float64)
    extent = np.maximum(points.max(axis=0) - low, 1e-30)
    cells = np.minimum((points - low) / extent * (1 << _BITS), (1 << _BITS) - 1).astype(np.uint64)
    key = _spread(cells[:, 0]) | _spread(cells[:, 1]) << np.uint64(1) | _spread(cells[:, 2]) << np.uint64(2)
    return np.argsort(key, kind="stable")


def _spread(x: np.ndarray) -> np.ndarray:
    """Two zero bits between any two of the 21 bits."""
    for shift, mask in (
        (32, 0x1F00000000FFFF), (16, 0x1F0000FF0000FF), (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3), (2, 0x1249249249249249),
    ):  # fmt: skip
        x = (x | x << np.uint64(shift)) & np.uint64(mask)
    return x
