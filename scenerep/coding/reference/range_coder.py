"""Range coder: 32-bit range, bits by 16-bit probabilities, one of sixteen symbols by 15-bit ones (Martin 1979, with
carries that run back into the output)."""

from __future__ import annotations

from collections.abc import Sequence

SYMBOLS = 16


class CodingError(ValueError):
    """The stream cannot have been written by the encoder."""


class RangeEncoder:
    decodes = False

    def __init__(self) -> None:
        self._low, self._range, self._bytes = 0, 0xFFFFFFFF, bytearray()

    def code(self, bit: int, p: int) -> int:
        """Codes `bit`, which is 1 with probability p / 65536, 0 < p < 65536; gives it back."""
        bound = (self._range >> 16) * p
        if bit:
            self._range = bound
        else:
            self._add(bound)
            self._range -= bound
        self._normalise()
        return bit

    def symbol(self, symbol: int, above: Sequence[int]) -> int:
        """Codes one of the symbols; above[s] is the probability of those above s in 1 / 32768, falling, the last 0."""
        unit = self._range >> 15
        low = unit * above[symbol]
        # What the division of the range leaves over goes to symbol 0.
        end = unit * above[symbol - 1] if symbol else self._range
        self._add(low)
        self._range = end - low
        self._normalise()
        return symbol

    def raw(self, value: int, count: int) -> int:
        """`count` (up to 8) equally likely bits."""
        self._range >>= count
        self._add(value * self._range)
        self._normalise()
        return value

    def finish(self) -> bytes:
        # The multiple of 2^24 in [low, low + range): one byte tells it, the decoder reads zeros after it.
        self._add(0xFFFFFF)
        self._bytes.append(self._low >> 24)
        return bytes(self._bytes)

    def _add(self, amount: int) -> None:
        self._low += amount
        if self._low >> 32:
            self._low &= 0xFFFFFFFF
            at = len(self._bytes) - 1
            while at >= 0:
                self._bytes[at] = (self._bytes[at] + 1) & 255
                if self._bytes[at]:
                    break
                at -= 1

    def _normalise(self) -> None:
        while self._range < 1 << 24:
            self._bytes.append(self._low >> 24)
            self._low = (self._low << 8) & 0xFFFFFFFF
            self._range <<= 8


class RangeDecoder:
    """Reads three bytes past the end at most: zeros that the encoder did not write."""

    decodes = True

    def __init__(self, data: bytes) -> None:
        self._data, self._position, self._code, self._range = data, 0, 0, 0xFFFFFFFF
        for _ in range(4):
            self._code = self._code << 8 | self._next()

    def code(self, bit: int, p: int) -> int:
        """The next bit; the argument `bit` is there so that encoder and decoder are called alike."""
        bound = (self._range >> 16) * p
        if self._code < bound:
            self._range, bit = bound, 1
        else:
            self._code -= bound
            self._range -= bound
            bit = 0
        self._normalise()
        return bit

    def symbol(self, symbol: int, above: Sequence[int]) -> int:
        unit = self._range >> 15
        symbol = sum(unit * a > self._code for a in above)
        low = unit * above[symbol]
        end = unit * above[symbol - 1] if symbol else self._range
        self._code -= low
        self._range = end - low
        self._normalise()
        return symbol

    def raw(self, value: int, count: int) -> int:
        self._range >>= count
        # A sound stream never reaches the limit; a broken one must not leave the interval.
        value = min(self._code // self._range, (1 << count) - 1)
        self._code -= value * self._range
        self._normalise()
        return value

    def _next(self) -> int:
        at = self._position
        self._position += 1
        if at < len(self._data):
            return self._data[at]
        if at >= len(self._data) + 3:
            raise CodingError("the stream ends too early")
        return 0

    def _normalise(self) -> None:
        while self._range < 1 << 24:
            self._code = (self._code << 8 | self._next()) & 0xFFFFFFFF
            self._range <<= 8


Coder = RangeEncoder | RangeDecoder
