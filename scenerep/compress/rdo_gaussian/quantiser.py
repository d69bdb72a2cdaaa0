"""Entropy-constrained vector quantisation with learned probabilities (Chou, Lookabaugh and Gray 1989), one codebook.

The index of a vector is argmin |x - c| - log2 p(c) / lambda; p is the softmax of learned logits. n = vectors, d = their
length, c = codewords.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from scenerep.compress.codebooks.learn import learn, nearest

_DEAD = 1e-5
_ROUNDS = 8
_SAMPLE = 1 << 15  # vectors that the codebook starts from


class VectorQuantiser:
    """codewords: [c, d]. logits: [c]. layer: [d, d] of SimVQ, else None, and then the codewords are learned."""

    def __init__(self, vectors: Tensor, count: int, lambda_: float, seed: int, simvq: bool) -> None:
        self.lambda_ = lambda_
        drawn = torch.from_numpy(np.random.default_rng(seed).permutation(len(vectors))[:_SAMPLE])
        self.base = learn(vectors[drawn], count, rounds=_ROUNDS, seed=seed)
        self.layer = torch.eye(vectors.shape[1], requires_grad=True) if simvq else None
        if not simvq:
            self.base.requires_grad_()
        index = nearest(vectors, self.codewords().detach())
        counts = torch.bincount(index, minlength=len(self.base)).float() + 1e-3
        self.logits = torch.log(counts / counts.sum()).requires_grad_()
        self.index = index
        self.refresh(vectors)

    def codewords(self) -> Tensor:
        return self.base if self.layer is None else self.base @ self.layer

    def bits(self) -> Tensor:
        """[c]: what each index costs by the learned probabilities."""
        return -torch.log_softmax(self.logits, 0) / np.log(2)

    def refresh(self, vectors: Tensor) -> None:
        """Chooses the indices anew."""
        with torch.no_grad():
            self.index = nearest(vectors, self.codewords(), self.bits(), self.lambda_)

    def revive(self, vectors: Tensor, rng: np.random.Generator) -> None:
        """Codewords that nobody is likely to use get vectors drawn at random; SimVQ has no need of it."""
        if self.layer is not None or not len(vectors):
            return
        with torch.no_grad():
            dead = torch.softmax(self.logits, 0) < _DEAD
            count = int(dead.sum())
            if count:
                self.base[dead] = vectors[torch.from_numpy(rng.integers(0, len(vectors), count))]
                self.logits[dead] = self.logits.logsumexp(0) - float(np.log(len(dead)))

    def masked(self, vectors: Tensor, users: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors quantised, straight through, and mean bits per number, over the users [n].

        The mean distance per number to the codeword |x - c| / d is a term of the loss by its gradient alone.
        """
        count = int(users.sum()) * vectors.shape[1]
        uses = torch.bincount(self.index[users], minlength=len(self.base))
        bits = (self.bits() * uses).sum() / count
        return _Quantised.apply(vectors, self.codewords(), self.index, users, 1.0 / count), bits


class _Quantised(torch.autograd.Function):
    """x -> c; codeword and vector both take the gradient of the picture, and are pulled together by that of |x - c|.

    In one piece, because each step of it as an operation of its own costs as much as the whole.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, codewords: Tensor, index: Tensor, users: Tensor, weight: float) -> Tensor:
        chosen = codewords[index]
        ctx.save_for_backward(vectors, chosen, index, users)
        ctx.size, ctx.weight = len(codewords), weight
        return chosen

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = grads
        vectors, chosen, index, users = ctx.saved_tensors
        pull = vectors - chosen
        length = torch.linalg.vector_norm(pull, dim=1, keepdim=True).clamp_min_(1e-6)
        pull.mul_(ctx.weight * users[:, None] / length)
        to_codewords = gradient.new_zeros(ctx.size, gradient.shape[1]).index_add_(0, index, gradient - pull)
        return pull.add_(gradient), to_codewords, None, None, None
