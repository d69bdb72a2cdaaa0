"""Tables of integers in known contexts, by the coder of the cells: native/coding_conditional.cpp.

A class stands for the distribution that a model predicts for a value. Values of a class (own context), of a class in a
column, and of a class after rows of some size share adaptive statistics: the prediction need not be calibrated.
"""

from __future__ import annotations

import numpy as np

from scenerep.native import native


class ConditionalError(ValueError):
    """The stream cannot have been written by the encoder."""


def encode_conditional(values: np.ndarray, classes: np.ndarray, count: int, fine: int = 1) -> bytes:
    """A stream.

    Args:
        values: int32 [rows, columns], below 2^24 in magnitude; 0 should be the likeliest.
        classes: int32 [rows, columns] in 0 .. count - 1; decoding needs the same.
        count: Number of classes.
        fine: So many neighbouring classes are one class where contexts are combined.
    """
    values, classes = _table(values), _table(classes)
    assert values.shape == classes.shape and (classes.size == 0 or 0 <= classes.min() <= classes.max() < count)
    return native().encode_conditional(values, classes, count, fine)


def decode_conditional(data: bytes, classes: np.ndarray, count: int, fine: int = 1) -> np.ndarray:
    """The values, int32 [rows, columns].

    Raises:
        ConditionalError: the stream ends too early or holds an integer of more than 24 bits.
    """
    classes = _table(classes)
    assert classes.size == 0 or 0 <= classes.min() <= classes.max() < count
    values = np.zeros(classes.shape, np.int32)
    fault = native().decode_conditional(data, values, classes, count, fine)
    if fault:
        raise ConditionalError(fault)
    return values


def _table(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.int32)
