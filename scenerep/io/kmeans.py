"""Codebooks for SOG: numbers in 256 levels, and a palette of SH vectors.

Lloyd's algorithm ("Least squares quantization in PCM", 1982) in numpy; the same seed gives the same codebook.
n = vectors, d = their length, c = codewords.
"""

from __future__ import annotations

import numpy as np

_LEVEL_ITERATIONS = 24
_ROUGH = 256  # branches of the tree; each holds some 256 leaves at the largest palette of 65536
_ROUGH_SAMPLE = 1 << 16
_ROUGH_ITERATIONS = 8
_LEAF_ITERATIONS = 6
_BLOCK = 1 << 15  # vectors that are compared at a time: 32 MB of distances to 256 codewords


def levels(values: np.ndarray, count: int = 256) -> np.ndarray:
    """float32 [count] ascending levels with a small squared error over all `values`; repeated if fewer are needed.

    Start: levels as dense as the cube root of the values' density, which is optimal for many levels (Panter and Dite,
    1951). Then Lloyd's iteration, which in one dimension is a cut of the sorted values.
    """
    ordered = np.sort(values, axis=None).astype(np.float64)
    if len(ordered) == 0:
        return np.zeros(count, np.float32)
    distinct = np.unique(ordered)
    if len(distinct) <= count:
        return np.concatenate([distinct, np.full(count - len(distinct), distinct[-1])]).astype(np.float32)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    histogram, edges = np.histogram(ordered, 4096)
    density = np.concatenate([[0.0], np.cumsum(np.cbrt(histogram))])
    centres = np.interp((np.arange(count) + 0.5) / count * density[-1], density, edges)
    for _ in range(_LEVEL_ITERATIONS):
        cuts = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate([[0], cuts, [len(ordered)]])
        size = np.diff(bounds)
        mean = np.diff(sums[bounds]) / np.maximum(size, 1)
        centres = np.where(size > 0, mean, centres)
    return np.sort(centres).astype(np.float32)


def nearest_level(values: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """uint8 index of the nearest entry of an ascending codebook of at most 256."""
    return np.searchsorted((codebook[1:] + codebook[:-1]) / 2, values).astype(np.uint8)


def palette(vectors: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(codewords float32 [c, d], label int64 [n]) of vectors float32 [n, d], c <= count.

    A tree of two levels: a rough clustering, then codewords inside each rough cluster, as many as its share of the
    spread (size times root-mean-square distance). A flat clustering would compare every vector with every codeword,
    6.6e9 distances for 100,000 Gaussians; the tree needs a hundredth of that.
    """
    rng = np.random.default_rng(seed)
    n = len(vectors)
    if n <= count:
        distinct, labels = np.unique(vectors, axis=0, return_inverse=True)
        return distinct, labels.reshape(-1)
    sample = vectors if n <= _ROUGH_SAMPLE else vectors[rng.choice(n, _ROUGH_SAMPLE, replace=False)]
    rough = _lloyd(sample, min(_ROUGH, max(1, count // 16)), _ROUGH_ITERATIONS, rng)
    branch, distance = _nearest(vectors, rough)
    order = np.argsort(branch, kind="stable")
    sizes = np.bincount(branch, minlength=len(rough))
    spread = np.bincount(branch, distance, minlength=len(rough))
    shares = _allocate(sizes, np.sqrt(spread * sizes), count)
    codewords, labels, start, base = [], np.empty(n, np.int64), 0, 0
    for size, share in zip(sizes, shares):
        members = order[start : start + size]
        start += size
        if size == 0:
            continue
        leaves = _lloyd(vectors[members], share, _LEAF_ITERATIONS, rng)
        labels[members] = base + _nearest(vectors[members], leaves)[0]
        codewords.append(leaves)
        base += len(leaves)
    return np.concatenate(codewords), labels


def _allocate(sizes: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """int64: at least 1 and at most its size for each cluster that is not empty, `count` in total at most."""
    shares = np.minimum(np.maximum(1, np.floor(weights / max(weights.sum(), 1e-30) * count)), sizes).astype(np.int64)
    # Rounding up to 1 may have taken too many: the largest give them back.
    while shares.sum() > count:
        shares[np.argmax(shares)] -= 1
    return shares


def _lloyd(vectors: np.ndarray, count: int, iterations: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [c, d] codewords, c <= count; those that lose all their vectors are left out."""
    if count >= len(vectors):
        return vectors
    codewords = vectors[rng.choice(len(vectors), count, replace=False)]
    for _ in range(iterations):
        label, _ = _nearest(vectors, codewords)
        order = np.argsort(label, kind="stable")
        size = np.bincount(label, minlength=len(codewords))
        kept = size > 0
        starts = (np.cumsum(size) - size)[kept]
        codewords = np.add.reduceat(vectors[order], starts, axis=0) / size[kept, None].astype(np.float32)
    return codewords.astype(np.float32)


def _nearest(vectors: np.ndarray, codewords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index [n], squared distance [n]) of the nearest codeword."""
    index = np.empty(len(vectors), np.int64)
    distance = np.empty(len(vectors), np.float32)
    norms = np.einsum("cd,cd->c", codewords, codewords)
    for lo in range(0, len(vectors), _BLOCK):
        block = vectors[lo : lo + _BLOCK]
        table = norms - 2 * (block @ codewords.T)
        index[lo : lo + _BLOCK] = best = table.argmin(axis=1)
        shortest = np.take_along_axis(table, best[:, None], 1)[:, 0] + np.einsum("nd,nd->n", block, block)
        distance[lo : lo + _BLOCK] = np.maximum(shortest, 0)
    return index, distance
