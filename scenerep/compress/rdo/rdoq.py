"""Rate-distortion-optimised quantisation of the view-dependent colour.

Nearest rounding minimises the error alone. Here a value moves one step towards zero, or a whole band of a Gaussian
becomes zero, where the bits saved times lambda exceed the error added (as in video coders; Karczewicz et al. 2008).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scenerep.coding import QuantisedSplats
from scenerep.compress.rdo.curvature import Arrays

_LARGEST = 15  # larger values share a cost
_CONTEXTS = 5


def optimise_sh(q: QuantisedSplats, x: Arrays, h: Arrays, lambda_: float, passes: int = 3) -> QuantisedSplats:
    """The same scene with SH values moved towards zero where that pays.

    Bits are estimated by the entropy of a value given its band, luma or chroma, and how many of the Gaussian's other
    values are not zero, which is what the coder's contexts see most of.
    """
    if q.sh.shape[1] == 0 or len(q) == 0:
        return q
    k = q.sh.shape[1]
    values, exact, weight = q.sh.copy(), x["sh"][:, :k], h["sh"][:, :k]
    steps = q.quantiser.sh_steps()
    for _ in range(passes):
        _move(values, exact, weight, steps, lambda_)
        _drop_bands(values, exact, weight, steps, lambda_)
    return replace(q, sh=values)


def _groups(k: int) -> np.ndarray:
    """[k, 3]: number of the statistics that a coefficient's luma and chromas share."""
    band = np.floor(np.sqrt(np.arange(k) + 1)).astype(int) - 1
    return np.stack([2 * band, 2 * band + 1, 2 * band + 1], axis=1)


def _contexts(values: np.ndarray) -> np.ndarray:
    """[n, k, 3] in 0 .. 4: how many other values of the Gaussian are not zero, on a coarse scale."""
    alive = values != 0
    others = alive.sum(axis=(1, 2))[:, None, None] - alive
    return np.searchsorted(np.array([1, 3, 7, 15]), others, side="right").astype(np.int8)


def _costs(values: np.ndarray, context: np.ndarray) -> np.ndarray:
    """Bits [group, context, |value|], of the values as they are."""
    k = values.shape[1]
    group = np.broadcast_to(_groups(k), values.shape)
    size = np.minimum(np.abs(values), _LARGEST)
    counts = np.zeros((int(group.max()) + 1, _CONTEXTS, _LARGEST + 1))
    np.add.at(counts, (group.ravel(), context.ravel(), size.ravel()), 1.0)
    counts += 0.02 * 0.5 ** np.arange(_LARGEST + 1)  # nothing is impossible
    bits = -np.log2(counts / counts.sum(axis=2, keepdims=True))
    bits[:, :, 1:] += 1  # the sign
    return bits


def _move(values: np.ndarray, exact: np.ndarray, weight: np.ndarray, steps: np.ndarray, lambda_: float) -> None:
    context = _contexts(values)
    bits = _costs(values, context)
    at = np.nonzero(values)
    now = values[at]
    group = _groups(values.shape[1])[at[1], at[2]]
    step, truth, h, c = steps[at[1], at[2]], exact[at], weight[at], context[at]

    def cost(candidate: np.ndarray) -> np.ndarray:
        rate = bits[group, c, np.minimum(np.abs(candidate), _LARGEST)]
        return h * (truth - candidate * step) ** 2 + lambda_ * rate

    best, lowest = now, cost(now)
    for candidate in (now - np.sign(now), np.zeros_like(now)):
        found = cost(candidate)
        best, lowest = np.where(found < lowest, candidate, best), np.minimum(found, lowest)
    values[at] = best


def _drop_bands(values: np.ndarray, exact: np.ndarray, weight: np.ndarray, steps: np.ndarray, lambda_: float) -> None:
    """Bands from the highest down, each with all above it: what is left costs the same, and its context gets rarer."""
    context = _contexts(values)
    bits = _costs(values, context)
    groups = np.broadcast_to(_groups(values.shape[1]), values.shape)
    rate = bits[groups, context, np.minimum(np.abs(values), _LARGEST)]
    kept = weight * (exact - values * steps) ** 2 + lambda_ * rate
    zero = weight * exact**2 + lambda_ * bits[groups, 0, 0]
    gain = (kept - zero).sum(axis=2)
    for band in range(int(np.sqrt(values.shape[1] + 1)) - 1, 0, -1):
        part = slice(band * band - 1, None)
        values[gain[:, part].sum(axis=1) > 0, part] = 0
