"""Which primitives share an anchor: boxes of a k-d tree that hold equally many."""

from __future__ import annotations

import numpy as np


def group(means: np.ndarray, size: int) -> np.ndarray:
    """int64 [n, size]: Gaussians of each group, -1 where there are none left (only in the last group of a branch).

    Each split cuts the longest side of a box, near the median, so that all boxes but one are full.

    Args:
        means: Centres [m, 3].
        size: Of a group.
    """
    out = []
    stack = [np.arange(len(means))] if len(means) else []
    while stack:
        members = stack.pop()
        if len(members) <= size:
            out.append(np.concatenate([members, np.full(size - len(members), -1)]))
            continue
        places = means[members]
        axis = int(np.argmax(np.ptp(places, axis=0)))
        groups = -(-len(members) // size)
        cut = (groups // 2) * size
        order = np.argpartition(places[:, axis], cut - 1)
        stack += [members[order[cut:]], members[order[:cut]]]
    return np.array(out, np.int64).reshape(-1, size)
