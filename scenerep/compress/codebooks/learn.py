"""Codebooks for vectors: nearest codewords, weighted k-means, SimVQ. n = vectors, d = their length, c = codewords.

SimVQ (Zhu et al. 2024, "Addressing Representation Collapse in Vector Quantized Models with One Linear Layer"): the
codewords are C W with C frozen and only the d x d matrix W learned, so that all of them move together and none is left
behind unused. Here C are vectors drawn from the data, where the paper draws them from a normal distribution: d is 3 to
27, and a linear layer of that size cannot fit the shape of the data alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_BLOCK = 1 << 10  # vectors compared at a time: their distances stay in the cache
_RIDGE = 1e-6


def nearest(vectors: Tensor, codewords: Tensor, bits: Tensor | None = None, lambda_: float = 1.0) -> Tensor:
    """int64 [n]: argmin over the codewords of |x - c|, or, where bits [c] are given, of |x - c| + bits / lambda."""
    found = torch.empty(len(vectors), dtype=torch.int64)
    squares, turned = codewords.square().sum(1), codewords.T.contiguous()
    # One table for all blocks: fresh memory for each costs more than the distances.
    table = torch.empty(min(_BLOCK, len(vectors)), len(codewords))
    for low in range(0, len(vectors), _BLOCK):
        block = vectors[low : low + _BLOCK]
        part = table[: len(block)]
        torch.addmm(squares[None], block, turned, alpha=-2, out=part)
        if bits is not None:
            part.add_(block.square().sum(1, keepdim=True)).clamp_min_(0).sqrt_().add_(bits[None], alpha=1 / lambda_)
        torch.argmin(part, dim=1, out=found[low : low + _BLOCK])
    return found


def start(vectors: Tensor, count: int, weights: Tensor | None, seed: int) -> Tensor:
    """[c, d], c <= count: vectors of the data, drawn without replacement by weight [n]; equal ones only once."""
    rng = np.random.default_rng(seed)
    p = None if weights is None else (weights.double() / weights.double().sum()).numpy()
    # What has no weight may still be drawn when the rest is too few.
    if p is not None and np.count_nonzero(p) < count:
        p = None
    rows = rng.choice(len(vectors), min(count, len(vectors)), replace=False, p=p)
    return torch.unique(vectors[torch.from_numpy(np.sort(rows))], dim=0)


def learn(
    vectors: Tensor, count: int, weights: Tensor | None = None, *, rounds: int, seed: int, simvq: bool = False
) -> Tensor:
    """float32 [c, d] codewords for vectors [n, d] whose errors count by weight [n]; c <= count.

    k-means (Lloyd 1982); a codeword without vectors moves to one of those that are worst off. With `simvq`, in place of
    the means, the linear layer that fits the vectors best to the frozen codewords they were assigned to.
    """
    frozen = start(vectors, count, weights, seed)
    weight = torch.ones(len(vectors)) if weights is None else weights.float()
    codewords = frozen.clone()
    for number in range(rounds):
        index = nearest(vectors, codewords)
        if simvq:
            codewords = frozen @ fit_layer(frozen, vectors, index, weight)
            continue
        total = torch.zeros(len(codewords)).index_add_(0, index, weight)
        sums = torch.zeros_like(codewords).index_add_(0, index, vectors * weight[:, None])
        lost = weight * (vectors - codewords[index]).square().sum(1)
        codewords = torch.where(total[:, None] > 0, sums / total.clamp_min(1e-30)[:, None], codewords)
        unused = torch.bincount(index, minlength=len(codewords)) == 0
        if number + 1 < rounds and unused.any():
            codewords[unused] = vectors[lost.topk(int(unused.sum())).indices]
    return codewords


def fit_layer(frozen: Tensor, vectors: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """float32 [d, d]: W with the smallest sum of weight * |x - C_index W|^2."""
    rows = frozen[index].double()
    weighted = rows * weight[:, None].double()
    d = frozen.shape[1]
    gram = weighted.T @ rows
    ridge = _RIDGE * gram.diagonal().mean().clamp_min(1e-12) * torch.eye(d, dtype=torch.float64)
    return torch.linalg.solve(gram + ridge, weighted.T @ vectors.double() + ridge).float()


def along_axis(codewords: np.ndarray) -> np.ndarray:
    """int64 [c]: codewords by their place along the axis of most variance, so that neighbours in number are alike."""
    if len(codewords) < 2:
        return np.arange(len(codewords))
    centred = codewords - codewords.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return np.argsort(centred @ axes[:, -1], kind="stable")
