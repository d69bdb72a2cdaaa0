"""Signed integers by adaptive distributions over sixteen symbols, mixed by weights that learn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from scenerep.coding.reference.models import Slot
from scenerep.coding.reference.range_coder import SYMBOLS, Coder, CodingError

_SLOWEST = 64  # a distribution never adapts slower than 1 / (_SLOWEST + 1.6)
_LEAST = 512  # of a weight; their sum is 32767
_FIRST_LARGE = 6  # the exponent at which the last symbol begins


def _scaled(a: int, b: int) -> int:
    return (a * b + (1 << 14)) >> 15


class _Distribution:
    """above[i]: probability of the symbols above i, in 1 / 32768."""

    __slots__ = ("above", "n")

    def __init__(self) -> None:
        self.above, self.n = [32768 - 2048 * (i + 1) for i in range(SYMBOLS)], 0

    def adapt(self, symbol: int) -> None:
        rate = 163840 // (5 * self.n + 8)
        self.above = [a + _scaled((32767 if i < symbol else 0) - a, rate) for i, a in enumerate(self.above)]
        self.n = min(self.n + 1, _SLOWEST)


def _width(above: Sequence[int], symbol: int) -> int:
    return (above[symbol - 1] if symbol else 32768) - above[symbol]


class IntegerModel:
    """A signed integer of up to 24 bits.

    Symbols: 0; then for each size class its positive and its negative numbers, the classes being 1, 2, 3, 4-7, 8-15,
    16-31, 32-63; 15 for anything larger, whose sign and exponent follow. The first two bits below the leading one have
    probabilities by exponent, the others are equally likely. Contexts come into being when first used.

    Weights follow the gradient of the mixture's log likelihood: w += rate * w * (p_j(symbol) / p(symbol) - 1).
    """

    def __init__(self, contexts: int) -> None:
        self._known: list[defaultdict[Hashable, _Distribution]] = [defaultdict(_Distribution) for _ in range(contexts)]
        self._weights = [32767 // contexts] * contexts
        self._larger: defaultdict[int, Slot] = defaultdict(Slot)
        self._below: defaultdict[tuple[int, int], Slot] = defaultdict(Slot)

    def code(self, coder: Coder, contexts: Sequence[Hashable], value: int) -> int:
        magnitude = abs(value)
        exponent = magnitude.bit_length() - 1
        size = magnitude - 1 if magnitude < 4 else exponent + 1
        symbol = 0 if not value else SYMBOLS - 1 if size > 6 else 1 + 2 * size + (value < 0)
        symbol = self._symbol(coder, contexts, symbol)
        if symbol == 0:
            return 0
        negative = symbol % 2 == 0
        if symbol == SYMBOLS - 1:
            negative = bool(coder.raw(int(value < 0), 1))
            e = _FIRST_LARGE
            while _code_bit(coder, self._larger[e], int(exponent > e)):
                e += 1
                if e > 24:
                    raise CodingError("an integer has more than 24 bits")
            exponent = e
        else:
            size = (symbol - 1) // 2
            if size < 3:
                return -size - 1 if negative else size + 1
            exponent = size - 1
        m = 2 | _code_bit(coder, self._below[exponent, 1], magnitude >> (exponent - 1) & 1)
        m = m << 1 | _code_bit(coder, self._below[exponent, m], magnitude >> (exponent - 2) & 1)
        left = exponent - 2
        while left > 0:
            take = min(left, 8)
            left -= take
            m = m << take | coder.raw(magnitude >> left & ((1 << take) - 1), take)
        return -m if negative else m

    def _symbol(self, coder: Coder, contexts: Sequence[Hashable], symbol: int) -> int:
        weights = self._weights
        used = [known[context] for known, context in zip(self._known, contexts)]
        if len(used) == 1:
            mixed = used[0].above
        else:
            mixed = [sum(_scaled(d.above[i], w) for d, w in zip(used, weights)) for i in range(SYMBOLS)]
        # No symbol falls below 4 / 32768.
        mixed = [a - (a >> 9) + 4 * (SYMBOLS - 1 - i) for i, a in enumerate(mixed)]
        symbol = coder.symbol(symbol, mixed)
        left = 32767
        for j, d in enumerate(used[:-1]):
            ratio = min((_width(d.above, symbol) << 12) // _width(mixed, symbol), 1 << 15)
            w = weights[j] + ((weights[j] * (ratio - 4096) + (1 << 17)) >> 18)
            weights[j] = min(max(w, _LEAST), left - _LEAST * (len(used) - 1 - j))
            left -= weights[j]
        weights[-1] = left
        for d in used:
            d.adapt(symbol)
        return symbol


def _code_bit(coder: Coder, slot: Slot, bit: int) -> int:
    bit = coder.code(bit, min(max(slot.p, 32), 65504))
    slot.adapt(bit)
    return bit
