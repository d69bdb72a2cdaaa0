"""Layers of a progressive file: the most important Gaussians first, each layer about twice as large as those before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scenerep.coding import QuantisedSplats


def layered(q: QuantisedSplats, importance: np.ndarray, layers: int) -> QuantisedSplats:
    """The scene in layers by importance [n]; layer 0 holds 2^-(layers - 1) of the Gaussians."""
    n = len(q)
    layers = max(1, min(layers, n))
    rank = np.empty(n, dtype=np.int64)
    rank[np.argsort(-importance, kind="stable")] = np.arange(n)
    ends = n * 0.5 ** np.arange(layers - 1, -1, -1)
    return replace(
        q, layers=np.searchsorted(ends, rank, side="right").clip(0, layers - 1).astype(np.uint8), layer_count=0
    )
