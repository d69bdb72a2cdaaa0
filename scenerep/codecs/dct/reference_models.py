"""The contexts of `dct` in plain Python, started by the prior: numbers of contexts as in native/image_dct.h."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from scenerep.codecs.dct.prior import Prior
from scenerep.coding.reference.models import Mixer, Slot

NODES = 28
TEMPLATES = 20
BANKS = (2 * 4 * TEMPLATES * 5, 2 * 4 * 64 * 3, 2 * 192, 5 * 4 * 25 * 3, 3 * 600)
SYNTAX = 4096


class _Made(dict):
    """Values made of their key when they are first asked for."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Hashable) -> Any:
        value = self[key] = self._make(key)
        return value


class StartedMixer(Mixer):
    """A Mixer whose contexts, numbered in banks, and sets of weights begin where a prior says.

    Args:
        banks: First slot of each bank.
        slots: int [n, 2]. weights: int [sets, contexts + 1].
    """

    def __init__(self, banks: list[int], slots: np.ndarray, weights: np.ndarray) -> None:
        super().__init__(len(banks))

        def slot(start: int) -> Callable[[int], Slot]:
            def make(context: int) -> Slot:
                made = Slot()
                made.p, made.n = (int(value) for value in slots[start + context])
                return made

            return make

        fresh = self._weights.default_factory
        assert fresh is not None

        def chosen(number: int) -> Any:
            made = fresh()
            *made.w, made.n = (int(value) for value in weights[number])
            return made

        self._slots = [_Made(slot(start)) for start in banks]  # type: ignore[assignment]
        self._weights = _Made(chosen)  # type: ignore[assignment]


def mixers(prior: Prior) -> tuple[StartedMixer, StartedMixer]:
    """(of coefficients, of the syntax)."""
    starts = np.concatenate([[0], np.cumsum(np.array(BANKS) * NODES)]).tolist()
    end = starts.pop()
    return (
        StartedMixer(starts, prior.slots, prior.weights),
        StartedMixer([end + j * SYNTAX for j in range(3)], prior.slots, prior.syntax),
    )
