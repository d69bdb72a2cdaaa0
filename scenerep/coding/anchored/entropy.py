"""The distributions that the entropy model predicts, as integers: the same on every machine, so that a stream written
on one decodes on any other.

A network has one hidden layer, out = relu(x W1 + b1) W2 + b2 with integer x and weights in units of 2^-8. Everything is
computed on integers below 2^53 in float64, hence exactly, in whatever order the products are summed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenerep.coding.anchored.scene import ENTROPY_BITS

SIGMAS, FRACTIONS = 32, 5
LOWEST_SIGMA = -3.0
"""log2 of the narrowest standard deviation that has a class of its own; four classes to an octave."""

_INPUT_LIMIT = 2.0**15
_HIDDEN_LIMIT = 2.0**24
_MEAN_LIMIT = 2.0**22


@dataclass(frozen=True)
class Prediction:
    """means, int32: nearest integers of the predicted means. classes, int32 in 0 .. SIGMAS * FRACTIONS - 1: the
    standard deviation, and on which side of the integer the mean lies. count and fine: as `encode_conditional` takes
    them."""

    means: np.ndarray
    classes: np.ndarray
    count: int = SIGMAS * FRACTIONS
    fine: int = FRACTIONS


def predict(weights: dict[str, np.ndarray], name: str, given: np.ndarray) -> Prediction:
    """The distributions of the `name` numbers (reference, scales or residual) of each row of `given`, int [n, .]."""
    out = integer_network(weights, name, given)
    half = out.shape[1] // 2
    unit = 2.0 ** (2 * ENTROPY_BITS)
    mean = np.clip(out[:, :half] / unit, -_MEAN_LIMIT, _MEAN_LIMIT)
    nearest = np.floor(mean + 0.5)
    fraction = np.clip(np.floor((mean - nearest + 0.5) * FRACTIONS), 0, FRACTIONS - 1)
    sigma = np.clip(np.floor((out[:, half:] / unit - LOWEST_SIGMA) * 4), 0, SIGMAS - 1)
    return Prediction(nearest.astype(np.int32), (sigma * FRACTIONS + fraction).astype(np.int32))


def integer_network(weights: dict[str, np.ndarray], name: str, given: np.ndarray) -> np.ndarray:
    """Means, then log2 of the standard deviations, both times 2^16: whole numbers, float64 [n, 2 m]."""
    x = np.clip(np.asarray(given, np.float64), -_INPUT_LIMIT, _INPUT_LIMIT)
    w = {part: weights[f"{name}.{part}"].astype(np.float64) for part in ("hidden", "hidden_bias", "out", "out_bias")}
    hidden = np.clip(x @ w["hidden"] + w["hidden_bias"], 0, _HIDDEN_LIMIT)
    return hidden @ w["out"] + w["out_bias"] * 2.0**ENTROPY_BITS
