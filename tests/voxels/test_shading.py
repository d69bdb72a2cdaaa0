from __future__ import annotations

import numpy as np
import torch

from scenerep.voxels.shading import FEATURES, INPUTS, ShadingOptimiser, encode, shade, shade_backward, start


def _torch_shade(weights: dict, features: torch.Tensor, alpha: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    parts = [directions]
    for k in range(4):
        parts += [torch.sin(2**k * directions), torch.cos(2**k * directions)]
    x = torch.cat([features, *parts], 1)
    x = torch.relu(x @ weights["w1"] + weights["b1"])
    x = torch.relu(x @ weights["w2"] + weights["b2"])
    return features[:, :3] + alpha[:, None] * torch.sigmoid(x @ weights["w3"] + weights["b3"])


def _inputs(rng: np.random.Generator, n: int = 20) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray]:
    weights = {name: w + rng.normal(0, 0.3, w.shape).astype(np.float32) for name, w in start(rng).items()}
    directions = rng.normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    features, alpha = rng.random((n, FEATURES)), rng.random(n)
    return weights, features.astype(np.float32), alpha.astype(np.float32), directions.astype(np.float32)


def test_colours_and_slopes_are_those_of_torch(rng: np.random.Generator) -> None:
    weights, features, alpha, directions = _inputs(rng)
    exact = {name: torch.from_numpy(w).double().requires_grad_() for name, w in weights.items()}
    f, a = (torch.from_numpy(x).double().requires_grad_() for x in (features, alpha))
    expected = _torch_shade(exact, f, a, torch.from_numpy(directions).double())
    shaded = shade(weights, features, alpha, directions)
    np.testing.assert_allclose(shaded.rgb, expected.detach().numpy(), atol=1e-5)

    v = rng.normal(size=shaded.rgb.shape)
    (expected * torch.from_numpy(v)).sum().backward()
    d_features, d_alpha, slopes = shade_backward(weights, shaded, v.astype(np.float32))
    assert f.grad is not None
    assert a.grad is not None
    np.testing.assert_allclose(d_features, f.grad.numpy(), atol=1e-4)
    np.testing.assert_allclose(d_alpha, a.grad.numpy(), atol=1e-4)
    for name, w in exact.items():
        assert w.grad is not None
        np.testing.assert_allclose(slopes[name], w.grad.numpy(), atol=1e-4, err_msg=name)


def test_nothing_is_added_where_nothing_is(rng: np.random.Generator) -> None:
    weights, features, _, directions = _inputs(rng)
    zero = np.zeros(len(features), np.float32)
    np.testing.assert_array_equal(shade(weights, 0 * features, zero, directions).rgb, 0)


def test_encoding_has_the_width_that_the_network_expects() -> None:
    assert encode(np.eye(3, dtype=np.float32)).shape == (3, INPUTS - FEATURES)


def test_the_network_learns_what_depends_on_the_direction(rng: np.random.Generator) -> None:
    weights, optimiser = start(rng), None
    optimiser = ShadingOptimiser(weights)
    losses = []
    for _ in range(300):
        _, features, alpha, directions = _inputs(rng, 256)
        target = features[:, :3] + alpha[:, None] * (directions[:, :1] > 0)
        shaded = shade(weights, features, alpha, directions)
        error = shaded.rgb - target
        losses.append(float(np.mean(error**2)))
        slope = (error * 2 / error.size).astype(np.float32)
        optimiser.step(shade_backward(weights, shaded, slope)[2], 5e-3)
    assert losses[-1] < 0.3 * losses[0]
