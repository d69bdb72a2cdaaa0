"""A Haar transform over the occupied vertices of a grid, integers only on the way back.

The vertices lie in the order of their Morton codes. Stage s joins nodes that differ in the lowest bit of their code: a
pair (a, b) becomes its mean l and its difference h = a - b, a node without partner passes on; then the codes lose that
bit. After as many stages as the codes have bits one node is left. This is the Haar case of the region-adaptive
hierarchical transform (de Queiroz and Chou, TIP 2016) without its weights, which the decoder would have to know.

Values are integers in units of 1/64 of a step. A coefficient q of stage s stands for a difference of q SIZES[s] of
these units: orthonormal Haar coefficients of one step have differences sqrt(2) 2^(-s/2) of it in stage s.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

UNITS = 64
SIZES = (91, 64, 45, 32, 23, 16, 11, 8, 6)
_LAST = 4
ROOT = 4
"""Units of the single node's values."""


def size_of(stage: int) -> int:
    """Units that a coefficient of 1 stands for."""
    return SIZES[stage] if stage < len(SIZES) else _LAST


@dataclass(frozen=True)
class Stage:
    """codes: uint64 [m], of the nodes before the stage. first: int64 [p], the lower node of each parent.
    paired: bool [p], whether the parent has two."""

    codes: np.ndarray
    first: np.ndarray
    paired: np.ndarray


def stages(codes: np.ndarray, bits: int) -> list[Stage]:
    """The stages of ascending distinct Morton codes [n] of `bits` bits, finest first."""
    found = []
    for _ in range(bits):
        parents = codes >> np.uint64(1)
        starts = np.ones(len(codes), bool)
        starts[1:] = parents[1:] != parents[:-1]
        first = np.flatnonzero(starts)
        counts = np.diff(np.append(first, len(codes)))
        found.append(Stage(codes, first, counts == 2))
        codes = parents[first]
    return found


def forward(
    values: np.ndarray, weights: np.ndarray, tree: list[Stage], lam: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Quantised coefficients of each stage [pairs, c], and of the root [1, c], for values [n, c] in units.

    Args:
        weights: float [n], how much an error of a node's values costs. A difference of a pair is left out where that
            costs less than its bits; the mean is then that of the weights: what nobody sees follows what is seen.
        lam: Cost of a bit, in squared units at weight 1.
    """
    values, weights = values.astype(np.float64), weights.astype(np.float64)
    coefficients = []
    for number, stage in enumerate(tree):
        a = values[stage.first]
        out = a.copy()
        total = weights[stage.first].copy()
        pair = np.flatnonzero(stage.paired)
        one, two = a[pair], values[stage.first[pair] + 1]
        w1, w2 = weights[stage.first[pair]][:, None], weights[stage.first[pair] + 1][:, None]
        size = size_of(number)
        q = np.round((one - two) / size)
        joint = w1 * w2 / np.maximum(w1 + w2, 1e-30)
        # Leaving h out costs the weighted variance; coding it costs about 1.5 bits and 2 more for each doubling, and a
        # rounding error.
        bits = 1.5 + 2 * np.log2(1 + np.abs(q))
        out_cost = joint * (one - two) ** 2
        in_cost = joint * (one - two - q * size) ** 2 + lam * bits
        q = np.where(out_cost <= in_cost, 0, q)
        mean = (w1 * one + w2 * two) / np.maximum(w1 + w2, 1e-30)
        out[pair] = mean + (w2 - w1) / np.maximum(w1 + w2, 1e-30) * (q * size / 2)
        total[pair] += weights[stage.first[pair] + 1]
        coefficients.append(q.astype(np.int64))
        values, weights = out, total
    return coefficients, np.round(values / ROOT).astype(np.int64)


def backward(root: np.ndarray, tree: list[Stage]) -> Generator[tuple[int, np.ndarray], np.ndarray, None]:
    """Coarse to fine: yields (stage, values of its parents int64 [p, c]) and is sent its coefficients [pairs, c].

    The last thing that it yields is (-1, the values of the vertices).
    """
    values = root * ROOT
    for number in reversed(range(len(tree))):
        stage = tree[number]
        q = yield number, values
        children = np.empty((len(stage.codes), values.shape[1]), np.int64)
        children[stage.first] = values
        pair = np.flatnonzero(stage.paired)
        difference = q * size_of(number)
        upper = values[pair] + ((difference + 1) >> 1)
        children[stage.first[pair]] = upper
        children[stage.first[pair] + 1] = upper - difference
        values = children
    yield -1, values
