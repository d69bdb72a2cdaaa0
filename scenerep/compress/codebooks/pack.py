"""Codewords and indices as they stand in a file."""

from __future__ import annotations

import numpy as np

from scenerep.coding.codebook_splats import Codebook
from scenerep.compress.codebooks.learn import along_axis

_FINENESS = 4  # steps in the root-mean-square distance of the vectors to their codewords
_FINEST = 2.0**-12


def packed(attribute: str, codewords: np.ndarray, indices: np.ndarray, distance: float) -> Codebook:
    """The codewords that are used, in order along their main axis, rounded to a step by their own error.

    Args:
        codewords: [c, d].
        indices: [n], -1 for none.
        distance: Root mean square of the distance, per number, of what they stand for.
    """
    step = float(np.float32(max(distance / _FINENESS, _FINEST)))
    used = np.unique(indices[indices >= 0])
    used = used[along_axis(codewords[used].astype(np.float64))]
    place = np.full(len(codewords) + 1, -1, np.int32)  # the last one is for -1
    place[used] = np.arange(len(used))
    rows = np.floor(codewords[used].astype(np.float64) / step + 0.5).astype(np.int32)
    return Codebook(attribute, rows, step, place[indices])
