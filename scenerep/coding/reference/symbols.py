"""Codebooks and indices into them; arguments as in scenerep/coding/symbols.py."""

from __future__ import annotations

from scenerep.coding.reference.integer import IntegerModel
from scenerep.coding.reference.models import Mixer
from scenerep.coding.reference.range_coder import Coder


def code_symbols(coder: Coder, symbols: list[int], size: int, optional: bool) -> list[int]:
    """The indices, which the decoder is given as zeros.

    An index is coded bit by bit from the top: a tree whose nodes learn how often each side is taken. A second tree for
    each value of the highest three bits of the index before is mixed in. Bits that cannot be 1 are not coded.
    """
    bits = (size - 1).bit_length()
    presence, tree = Mixer(3), Mixer(2)
    recent = before = 0
    out = []
    for symbol in symbols:
        if optional:
            present = presence.code(coder, (recent & 7, recent & 255, 0), 0, int(symbol >= 0))
            recent = recent << 1 | present
            if not present:
                out.append(-1)
                continue
        value = 0
        for k in range(bits - 1, -1, -1):
            if (value << 1 | 1) << k < size:
                level = bits - 1 - k
                contexts = ((level, value), (before, level, value))
                value = value << 1 | tree.code(coder, contexts, level, symbol >> k & 1)
            else:
                value <<= 1
        before = value >> max(0, bits - 3)
        out.append(value)
    return out


def code_rows(coder: Coder, rows: list[list[int]]) -> list[list[int]]:
    """The integers, which the decoder is given as zeros."""
    model = IntegerModel(1)
    return [[model.code(coder, (column,), value) for column, value in enumerate(row)] for row in rows]
