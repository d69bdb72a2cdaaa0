"""Where the adaptive contexts of `dct` start: learned on other pictures by scripts/train_dct_prior.py.

The file is part of the format: another one is another version of it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenerep.native import native

FILE = Path(__file__).with_name("prior.npz")
KNOTS = 8


@dataclass(frozen=True)
class Prior:
    """The state of all models, and the profiles of the quantiser.

    slots: int32 [s, 2], probability of a 1 in 1/65536 and how many bits that is worth.
    weights, syntax: int32 [sets, contexts + 1], weights in 1/65536 and how many bits they have seen.
    profiles: uint8 [2, 4, 8], factors of the step in 1/64 by plane (luma, chroma), size and frequency.
    """

    slots: np.ndarray
    weights: np.ndarray
    syntax: np.ndarray
    profiles: np.ndarray

    @property
    def models(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.slots, self.weights, self.syntax


def untrained() -> Prior:
    """Every bit equally likely, every context equally trusted, every frequency alike."""
    slots, sets, width, syntax_sets, syntax_width = native().dct_model_shape()

    def weights(rows: int, columns: int) -> np.ndarray:
        out = np.full((rows, columns), 65536 // (columns - 1), np.int32)
        out[:, -1] = 0
        return out

    start = np.zeros((slots, 2), np.int32)
    start[:, 0] = 32768
    return Prior(start, weights(sets, width), weights(syntax_sets, syntax_width), np.full((2, 4, KNOTS), 64, np.uint8))


@functools.cache
def trained() -> Prior:
    """The one that files are coded with."""
    with np.load(FILE) as stored:
        return Prior(
            np.stack([stored["p"], stored["n"]], axis=1).astype(np.int32),
            stored["weights"].astype(np.int32),
            stored["syntax"].astype(np.int32),
            stored["profiles"],
        )


def save(prior: Prior) -> None:
    """Writes the file."""
    np.savez_compressed(
        FILE,
        p=prior.slots[:, 0].astype(np.uint16),
        n=prior.slots[:, 1].astype(np.uint8),
        weights=prior.weights,
        syntax=prior.syntax,
        profiles=prior.profiles,
    )
