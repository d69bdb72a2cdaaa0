"""Adaptive bit models mixed in the logistic domain (Mahoney 2005): p = squash(sum of w_i stretch(p_i))."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from scenerep.coding.reference.range_coder import Coder

# 65536 / (1 + exp(-x / 256)) at x = -2048, -1920 ... 2048; straight lines between.
_SQUASH = (
    *(22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768),
    *(40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514),
)
_SLOWEST = 127  # a context never adapts slower than 1 / (_SLOWEST + 2)
_WEIGHT_LIMIT = 1 << 19


def squash(x: int) -> int:
    """A 16-bit probability from its logit x / 256, x in -2047 .. 2047."""
    i, f = (x + 2048) >> 7, x & 127
    return (_SQUASH[i] * (128 - f) + _SQUASH[i + 1] * f + 64) >> 7


def _stretch_table() -> list[int]:
    """By 12-bit probability p: the smallest x whose squash(x) >> 4 is not below p."""
    table: list[int] = []
    for x in range(-2047, 2048):
        table.extend([x] * ((squash(x) >> 4) + 1 - len(table)))
    return table + [2047] * (4096 - len(table))


_STRETCH = _stretch_table()


class Slot:
    """Probability of a 1, and how many bits it has seen."""

    __slots__ = ("n", "p")

    def __init__(self) -> None:
        self.p, self.n = 32768, 0

    def adapt(self, bit: int) -> None:
        # 1 / (n + 2), the estimate of Krichevsky and Trofimov at first.
        self.p += ((65535 if bit else 0) - self.p) * (32768 // (self.n + 2)) >> 15
        self.n = min(self.n + 1, _SLOWEST)


class _Weights:
    __slots__ = ("n", "w")

    def __init__(self, count: int) -> None:
        self.w, self.n = [65536 // count] * count, 0


class Mixer:
    """Codes bits by several contexts each; contexts and sets of weights come into being when first used."""

    def __init__(self, contexts: int) -> None:
        self._slots: list[defaultdict[Hashable, Slot]] = [defaultdict(Slot) for _ in range(contexts)]
        self._weights: defaultdict[Hashable, _Weights] = defaultdict(lambda: _Weights(contexts))

    def code(self, coder: Coder, contexts: Sequence[Hashable], weights: Hashable, bit: int) -> int:
        slots = [known[context] for known, context in zip(self._slots, contexts)]
        chosen = self._weights[weights]
        stretched = [_STRETCH[slot.p >> 4] for slot in slots]
        dot = sum(w * st for w, st in zip(chosen.w, stretched)) >> 16
        p = min(max(squash(min(max(dot, -2047), 2047)), 32), 65504)
        bit = coder.code(bit, p)
        error = (bit << 16) - p
        shift = 14 if chosen.n < 64 else 15
        for j, (slot, st) in enumerate(zip(slots, stretched)):
            w = chosen.w[j] + ((st * error + (1 << (shift - 1))) >> shift)
            chosen.w[j] = min(max(w, -_WEIGHT_LIMIT), _WEIGHT_LIMIT)
            slot.adapt(bit)
        chosen.n = min(chosen.n + 1, 64)
        return bit
