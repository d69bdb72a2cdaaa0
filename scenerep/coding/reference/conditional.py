"""Tables of integers in known contexts: the plain version of native/coding_conditional.cpp."""

from __future__ import annotations

from scenerep.coding.reference.integer import IntegerModel
from scenerep.coding.reference.range_coder import Coder

_RECENT = 12


def code_table(coder: Coder, values: list[list[int]], classes: list[list[int]], fine: int) -> None:
    """Codes rows in place."""
    model = IntegerModel(3)

    def size(row: int, column: int) -> int:
        return min(abs(values[row][column]), 1 << 20) if row >= 0 else 0

    for i, row in enumerate(values):
        for c in range(len(row)):
            own = classes[i][c]
            recent = min(_RECENT - 1, (size(i - 1, c) + size(i - 2, c)).bit_length())
            # The contexts are told apart by what they are, not by a running number as in the native version.
            row[c] = model.code(coder, [own, (c, own // fine), (recent, own // fine)], row[c])
