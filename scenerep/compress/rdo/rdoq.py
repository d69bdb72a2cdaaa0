"""Rate-distortion-optimised quantisation of the view-dependent colour.

Nearest rounding minimises the error alone. Here a value moves one step towards zero, or a Gaussian's bands from some
band up become zero, where the bits saved times lambda exceed the error added (as in video coders; Karczewicz et al.
2008). Bits are estimated by the entropy of a value given its band, luma or chroma, and how many of the Gaussian's
other values are not zero, which is what the coder's contexts see most of. All work is on the values that are not zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scenerep.coding import QuantisedSplats
from scenerep.compress.rdo.curvature import Arrays

_LARGEST = 15  # larger values share a cost
_CONTEXT_ENDS = np.array([1, 3, 7, 15])


def optimise_sh(q: QuantisedSplats, x: Arrays, h: Arrays, lambda_: float, passes: int = 2) -> QuantisedSplats:
    """The same scene with SH values moved towards zero where that pays.

    Args:
        x, h: Coded numbers and their curvatures, for the Gaussians of `q` in their order.
        lambda_: Mean squared error per bit.
    """
    if q.sh.shape[1] == 0 or len(q) == 0:
        return q
    values = q.sh.copy()
    for _ in range(passes):
        alive = _alive(values, q, x, h)
        if len(alive.row) == 0:
            break
        moved = _move(alive, lambda_)
        values[alive.row, alive.column, alive.channel] = moved
        alive = replace(alive, value=moved)
        values[_bands_to_drop(alive, values.shape[1], lambda_)] = 0
    return replace(q, sh=values)


@dataclass(frozen=True)
class _Alive:
    """The m values that are not zero: where they are, what they stand for, and bits [group, context, |value|]."""

    row: np.ndarray
    column: np.ndarray
    channel: np.ndarray
    value: np.ndarray
    exact: np.ndarray
    weight: np.ndarray
    step: np.ndarray
    group: np.ndarray
    context: np.ndarray
    bits: np.ndarray
    rows: int


def _groups(k: int) -> np.ndarray:
    """[k, 3]: number of the statistics that a coefficient's luma and chromas share."""
    band = np.floor(np.sqrt(np.arange(k) + 1)).astype(int) - 1
    return np.stack([2 * band, 2 * band + 1, 2 * band + 1], axis=1)


def _context(others: np.ndarray) -> np.ndarray:
    """0 .. 4: how many other values of the Gaussian are not zero, on a coarse scale."""
    return np.searchsorted(_CONTEXT_ENDS, others, side="right")


def _alive(values: np.ndarray, q: QuantisedSplats, x: Arrays, h: Arrays) -> _Alive:
    n, k, _ = values.shape
    at = np.nonzero(values)
    groups = _groups(k)
    group = groups[at[1], at[2]]
    count = np.bincount(at[0], minlength=n)
    context = _context(np.maximum(count - 1, 0))[at[0]]
    value = values[at]
    total = int(groups.max()) + 1
    size = np.minimum(np.abs(value), _LARGEST)
    cells = (group * 5 + context) * (_LARGEST + 1) + size
    counts = np.bincount(cells, minlength=total * 5 * (_LARGEST + 1)).reshape(total, 5, _LARGEST + 1).astype(float)
    # Zeros are the rest: those of a Gaussian all have the same context, but where the number of its values is odd one
    # out of them counts itself.
    by_context = np.bincount(_context(count), minlength=5)
    alive_at = np.bincount(group * 5 + _context(count)[at[0]], minlength=total * 5).reshape(total, 5)
    sizes = np.bincount(groups.ravel(), minlength=total)
    counts[:, :, 0] += sizes[:, None] * by_context - alive_at
    counts += 0.02 * 0.5 ** np.arange(_LARGEST + 1)  # nothing is impossible
    bits = -np.log2(counts / counts.sum(axis=2, keepdims=True))
    bits[:, :, 1:] += 1  # the sign
    row, column, channel = at
    return _Alive(
        row,
        column,
        channel,
        value,
        x["sh"][at],
        h["sh"][at],
        q.quantiser.sh_steps()[at[1], at[2]],
        group,
        context,
        bits,
        n,
    )


def _cost(a: _Alive, candidate: np.ndarray, lambda_: float) -> np.ndarray:
    rate = a.bits[a.group, a.context, np.minimum(np.abs(candidate), _LARGEST)]
    return a.weight * (a.exact - candidate * a.step) ** 2 + lambda_ * rate


def _move(a: _Alive, lambda_: float) -> np.ndarray:
    best, lowest = a.value, _cost(a, a.value, lambda_)
    for candidate in (a.value - np.sign(a.value), np.zeros_like(a.value)):
        found = _cost(a, candidate, lambda_)
        best, lowest = np.where(found < lowest, candidate, best), np.minimum(found, lowest)
    return best


def _bands_to_drop(a: _Alive, k: int, lambda_: float) -> np.ndarray:
    """bool [n, k]: coefficients from a Gaussian's band upwards that cost more than they are worth.

    Zeros next to values cost more than zeros among zeros; that is counted for the values' own sake only.
    """
    gain = _cost(a, a.value, lambda_) - a.weight * a.exact**2 - lambda_ * a.bits[a.group, 0, 0]
    band = a.group // 2
    bands = int(np.sqrt(k + 1)) - 1
    total = np.bincount(a.row * bands + band, gain, minlength=a.rows * bands).reshape(a.rows, bands)
    upwards = np.cumsum(total[:, ::-1], axis=1)[:, ::-1] > 0
    drop = np.maximum.accumulate(upwards, axis=1)
    return drop[:, np.floor(np.sqrt(np.arange(k) + 1)).astype(int) - 1]
