"""What the metrics take: two pictures [h, w, 3] of one size, uint8 or float in [0, 1], and perhaps a mask [h, w]."""

from __future__ import annotations

from typing import Any

import numpy as np

from scenerep.errors import DataError


def as_array(value: Any) -> np.ndarray:
    """A NumPy array or a torch tensor as an array; a tensor on the CPU is not copied."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def as_picture(value: Any, name: str) -> np.ndarray:
    """A C-contiguous uint8 or float32 picture [h, w, 3]; copied only if it is something else.

    Raises DataError for another shape or type, or a picture without pixels.
    """
    array = as_array(value)
    if array.ndim != 3 or array.shape[2] != 3:
        raise DataError(f"{name} has shape {array.shape}, expected [h, w, 3]", "drop alpha, and repeat a grey channel")
    if array.size == 0:
        raise DataError(f"{name} has no pixels: {array.shape[1]} x {array.shape[0]}")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"{name} has type {array.dtype}", "use uint8, or floats in [0, 1]")
    return np.ascontiguousarray(array, dtype=np.float32)


def as_float(picture: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """Values in [0, 1]: uint8 is divided by 255, floats stay."""
    return picture.astype(dtype) / dtype(255) if picture.dtype == np.uint8 else picture.astype(dtype, copy=False)


def as_mask(value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """A mask as uint8 [h, w], 0 = ignore; `shape` is the picture's. Raises DataError if they differ in size."""
    if value is None:
        return None
    array = as_array(value)
    if array.shape != tuple(shape[:2]):
        raise DataError(f"the mask has shape {array.shape}, the picture {tuple(shape[:2])}", "resize one of them")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    return np.ascontiguousarray(array != 0).view(np.uint8)


def as_pair(first: Any, second: Any, mask: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Two pictures of one size and their mask, checked."""
    a, b = as_picture(first, "the first picture"), as_picture(second, "the second picture")
    if a.shape != b.shape:
        raise DataError(f"the pictures differ in size: {a.shape[:2]} and {b.shape[:2]}", "resize one of them")
    return a, b, as_mask(mask, a.shape)
