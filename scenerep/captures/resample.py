"""Resampling of uint8 pictures: exact area averaging and bilinear remap, both with premultiplied alpha."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import sparse


def fit(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """(width, height) of a picture whose longer side is at most `max_side`, never enlarged."""
    longer = max(width, height)
    if max_side is None or longer <= max_side:
        return width, height
    return max(1, round(width * max_side / longer)), max(1, round(height * max_side / longer))


def area_average(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """[height, width, c] or [height, width]: every pixel is the mean of the area that it covers in `picture`.

    uint8 in, uint8 out (rounded); float32 in, float32 out. With four channels of uint8, colours are averaged with
    their alpha as weight, so the colour of transparent pixels does not bleed in.
    """
    if picture.shape[:2] == (height, width):
        return picture
    if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 4:
        return _straight(area_average(_premultiplied(picture), width, height))
    h, w = picture.shape[:2]
    values = picture.astype(np.float32).reshape(h, -1)
    rows = (_area_weights(h, height) @ values).reshape(height, w, -1)
    # The columns as one product: [width, w] times [w, height * c]
    columns = _area_weights(w, width) @ rows.transpose(1, 0, 2).reshape(w, -1)
    out = columns.reshape(width, height, -1).transpose(1, 0, 2).reshape(height, width, *picture.shape[2:])
    return np.ascontiguousarray(_rounded(out) if picture.dtype == np.uint8 else out)


def remap(picture: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Bilinear samples of uint8 [h, w, c] at `source` [H, W, 2] (pixels, centres at +0.5); the border is replicated."""
    if picture.shape[2] == 4:
        return _straight(_bilinear(_premultiplied(picture), source))
    return _rounded(_bilinear(picture, source))


def remap_nearest(values: np.ndarray, source: np.ndarray) -> np.ndarray:
    """`values` [h, w] at the pixel nearest to `source` [H, W, 2]: for masks and depth, which must not be blended."""
    h, w = values.shape
    x = np.clip(np.floor(source[..., 0]).astype(np.int32), 0, w - 1)
    y = np.clip(np.floor(source[..., 1]).astype(np.int32), 0, h - 1)
    return values[y, x]


@lru_cache(maxsize=16)
def _area_weights(before: int, after: int) -> sparse.csr_array:
    """[after, before]: the share of each input pixel in each output pixel; rows sum to 1."""
    edges = np.linspace(0.0, before, after + 1)
    first = np.floor(edges[:-1] + 1e-9).astype(np.int64)
    last = np.ceil(edges[1:] - 1e-9).astype(np.int64)
    counts = last - first
    row = np.repeat(np.arange(after), counts)
    column = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + first[row]
    overlap = np.minimum(column + 1, edges[row + 1]) - np.maximum(column, edges[row])
    weights = (overlap * after / before).astype(np.float32)
    return sparse.csr_array((weights, (row, column)), shape=(after, before))


def _bilinear(picture: np.ndarray, source: np.ndarray) -> np.ndarray:
    h, w, channels = picture.shape
    x = np.clip(source[..., 0].ravel() - 0.5, 0, w - 1)
    y = np.clip(source[..., 1].ravel() - 0.5, 0, h - 1)
    x0, y0 = x.astype(np.int32), y.astype(np.int32)
    right = np.minimum(x0 + 1, w - 1) - x0
    below = (np.minimum(y0 + 1, h - 1) - y0) * w
    fx, fy = (x - x0).astype(np.float32)[:, None], (y - y0).astype(np.float32)[:, None]
    flat, base = picture.reshape(-1, channels), y0 * w + x0
    top = flat[base] * (1 - fx) + flat[base + right] * fx
    bottom = flat[base + below] * (1 - fx) + flat[base + below + right] * fx
    return (top * (1 - fy) + bottom * fy).reshape(*source.shape[:2], channels)


def _premultiplied(picture: np.ndarray) -> np.ndarray:
    values = picture.astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255
    return values


def _straight(values: np.ndarray) -> np.ndarray:
    alpha = values[..., 3:]
    colour = np.where(alpha > 0, values[..., :3] * 255 / np.where(alpha > 0, alpha, 1), 0)
    return _rounded(np.concatenate([colour, alpha], axis=-1))


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
