"""Numbers in few bits, shared by the packed formats: opacities and colours in bytes, rotations without their largest
component.

n = Gaussians. Rounding is to the nearest step everywhere, halves up, as C's `round` does for positive numbers.
"""

from __future__ import annotations

import numpy as np

from scenerep.geometry.sh import dc_from_rgb

# A byte of 0 or 255 stands for an opacity of 0 or 1, whose logits are infinite; +-13.8 packs to the same bytes again.
_OPACITY_MARGIN = 1e-6


def to_bytes(values: np.ndarray) -> np.ndarray:
    """uint8 of values that are counted in steps; out of range is clipped, not a number becomes 0."""
    return np.nan_to_num(np.clip(np.floor(values + 0.5), 0, 255)).astype(np.uint8)


def opacity(logits: np.ndarray) -> np.ndarray:
    """Logistic function; float32, never overflows."""
    return (0.5 + 0.5 * np.tanh(0.5 * logits)).astype(np.float32)


def logits_from_opacity(values: np.ndarray) -> np.ndarray:
    """float32 logits of opacities in [0, 1]; 0 and 1 become -13.8 and 13.8."""
    p = np.clip(values.astype(np.float64), _OPACITY_MARGIN, 1 - _OPACITY_MARGIN)
    return (np.log(p) - np.log1p(-p)).astype(np.float32)


_LOGITS = logits_from_opacity(np.arange(256) / 255)
_DC = dc_from_rgb(np.arange(256) / 255).astype(np.float32)


def logits_from_bytes(values: np.ndarray) -> np.ndarray:
    """float32 logits of opacities in 255ths."""
    return _LOGITS[values]


def dc_from_bytes(values: np.ndarray) -> np.ndarray:
    """float32 SH coefficients of degree 0 of colours in 255ths."""
    return _DC[values]


def smallest_three(quats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index of the largest component [n], the other three in order, float32 [n, 3]) of quaternions [n, 4].

    The sign is chosen so that the largest component is positive; the others lie within +-sqrt(1/2).
    """
    length = np.linalg.norm(quats, axis=1, keepdims=True)
    unit = np.where(length > 0, quats / np.maximum(length, 1e-30), np.array([1, 0, 0, 0], np.float32))
    largest = np.argmax(np.abs(unit), axis=1)
    unit = unit * np.where(np.take_along_axis(unit, largest[:, None], 1) < 0, np.float32(-1), np.float32(1))
    return largest, np.take_along_axis(unit, _OTHERS[largest], 1)


def from_smallest_three(largest: np.ndarray, others: np.ndarray) -> np.ndarray:
    """float32 [n, 4] from what `smallest_three` gives; three components that are too long leave the fourth at zero."""
    out = np.empty((len(others), 4), np.float32)
    rest = 1 - np.einsum("ni,ni->n", others, others)
    np.put_along_axis(out, _OTHERS[largest], others.astype(np.float32), 1)
    np.put_along_axis(out, largest[:, None], np.sqrt(np.maximum(rest, 0))[:, None].astype(np.float32), 1)
    return out


# Row i: the components that stay when component i is left out.
_OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
