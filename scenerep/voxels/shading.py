"""The view-dependent part of a pixel's colour: one tiny network for each pixel, after the march (deferred shading).

SNeRG (Hedman et al., ICCV 2021, eq. 8) and Mip-VoG (Hu et al., ICCV 2023): the march sums up diffuse colours and
features F along a ray, and a network adds what depends on the direction,

    C = C_d + alpha s(F, d),    s = logistic(W3 relu(W2 relu(W1 [C_d, F, d, e(d)] + b1) + b2) + b3)

with e(d) = sin(2^k d), cos(2^k d), k = 0 ... 3. The factor alpha, which the papers do not have, keeps the background
as it is. Widths 34, 16, 16, 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEATURES = 7
"""Three diffuse colours and four features."""
FREQUENCIES = 4
INPUTS = FEATURES + 3 + 6 * FREQUENCIES
WIDTH = 16
NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")
SHAPES = ((INPUTS, WIDTH), (WIDTH,), (WIDTH, WIDTH), (WIDTH,), (WIDTH, 3), (3,))
_START = -3.0  # of the last bias: hardly anything is added at the start


def start(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights to begin with, float32, by name."""
    weights = {}
    for name, shape in zip(NAMES, SHAPES, strict=True):
        values = np.zeros(shape, np.float32)
        if len(shape) == 2:
            values[:] = rng.normal(0, np.sqrt(2 / shape[0]), shape)
        weights[name] = values
    weights["w3"] *= 0.1
    weights["b3"][:] = _START
    return weights


def encode(directions: np.ndarray) -> np.ndarray:
    """float32 [n, 27]: unit directions [n, 3], and their sines and cosines."""
    parts = [directions]
    for k in range(FREQUENCIES):
        parts += [np.sin(2.0**k * directions), np.cos(2.0**k * directions)]
    return np.concatenate(parts, axis=1, dtype=np.float32)


@dataclass
class Shaded:
    """rgb [n, 3] without background, and what the backward pass needs."""

    rgb: np.ndarray
    added: np.ndarray
    inputs: np.ndarray
    hidden: tuple[np.ndarray, np.ndarray]
    alpha: np.ndarray


def shade(weights: dict[str, np.ndarray], features: np.ndarray, alpha: np.ndarray, directions: np.ndarray) -> Shaded:
    """Colours of rays: features float32 [n, 7], alpha [n], unit directions [n, 3]."""
    inputs = np.concatenate([features, encode(directions)], axis=1)
    first = np.maximum(inputs @ weights["w1"] + weights["b1"], 0)
    second = np.maximum(first @ weights["w2"] + weights["b2"], 0)
    added = 1 / (1 + np.exp(-(second @ weights["w3"] + weights["b3"])))
    return Shaded(features[:, :3] + alpha[:, None] * added, added, inputs, (first, second), alpha)


def shade_backward(
    weights: dict[str, np.ndarray], shaded: Shaded, d_rgb: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """(slopes of the features [n, 7], of alpha [n], of the weights) for slopes of the colours [n, 3]."""
    first, second = shaded.hidden
    d_third = d_rgb * shaded.alpha[:, None] * shaded.added * (1 - shaded.added)
    d_second = d_third @ weights["w3"].T * (second > 0)
    d_first = d_second @ weights["w2"].T * (first > 0)
    d_inputs = d_first @ weights["w1"].T
    slopes = {
        "w1": shaded.inputs.T @ d_first,
        "b1": d_first.sum(0),
        "w2": first.T @ d_second,
        "b2": d_second.sum(0),
        "w3": second.T @ d_third,
        "b3": d_third.sum(0),
    }
    d_features = d_inputs[:, :FEATURES].copy()
    d_features[:, :3] += d_rgb
    return d_features, (d_rgb * shaded.added).sum(1), slopes


class ShadingOptimiser:
    """Adam (Kingma and Ba 2015, algorithm 1) on the weights, in place."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.m = {name: np.zeros_like(w) for name, w in weights.items()}
        self.v = {name: np.zeros_like(w) for name, w in weights.items()}
        self.steps = 0

    def step(self, slopes: dict[str, np.ndarray], rate: float, beta1: float = 0.9, beta2: float = 0.99) -> None:
        """One step."""
        self.steps += 1
        for name, g in slopes.items():
            self.m[name] += (1 - beta1) * (g - self.m[name])
            self.v[name] += (1 - beta2) * (g * g - self.v[name])
            mean = self.m[name] / (1 - beta1**self.steps)
            spread = np.sqrt(self.v[name] / (1 - beta2**self.steps))
            self.weights[name] -= (rate * mean / (spread + 1e-12)).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """By name, for a checkpoint."""
        return {f"mlp_m_{k}": m for k, m in self.m.items()} | {f"mlp_v_{k}": v for k, v in self.v.items()}

    def load(self, arrays: dict[str, np.ndarray], steps: int) -> None:
        """The inverse of `state`."""
        for name in self.weights:
            self.m[name], self.v[name] = arrays[f"mlp_m_{name}"].copy(), arrays[f"mlp_v_{name}"].copy()
        self.steps = steps
