"""The Adam kernel against NumPy and torch."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from scenerep.errors import SceneRepError
from scenerep.splats.adam import adam_step
from scenerep.splats.adam_reference import adam_reference

SHAPES = [(0, 3), (1, 3), (7,), (33, 3), (50, 4), (1000,), (6000, 3), (37, 9, 3), (400, 16, 3)]


def _case(shape, rng):
    param, grad = rng.normal(size=(2, *shape)).astype(np.float32)
    return param, grad * 10.0 ** rng.integers(-6, 1, size=shape).astype(np.float32)


@pytest.mark.parametrize("seen", [None, 0.0, 0.5, 0.95])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_equals_numpy(shape, seen, rng):
    param, _ = _case(shape, rng)
    rate = np.float32(0.01) * rng.random(shape[1:]).astype(np.float32)
    p, m, v = (a.astype(np.float64) for a in (param, np.zeros(shape), np.zeros(shape)))
    first, second = np.zeros_like(param), np.zeros_like(param)
    for step in range(1, 4):
        _, grad = _case(shape, rng)
        visible = None if seen is None else rng.random(shape[0]) < seen
        before = param.copy()
        adam_step(param, grad, first, second, rate, step, visible)
        p, m, v = adam_reference(p, grad.astype(np.float64), m, v, rate, step, visible=visible)
        np.testing.assert_allclose(param, p, rtol=0, atol=1e-6)
        if visible is not None:
            np.testing.assert_array_equal(param[~visible], before[~visible])
    np.testing.assert_allclose(first, m, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(second, v, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("shape", [(1000,), (500, 3), (200, 16, 3)])
def test_equals_torch_when_all_are_seen(shape, rng):
    param, _ = _case(shape, rng)
    theirs = torch.tensor(param, requires_grad=True)
    optimiser = torch.optim.Adam([theirs], lr=2e-3, eps=1e-15, fused=True)
    first, second = np.zeros_like(param), np.zeros_like(param)
    for step in range(1, 11):
        _, grad = _case(shape, rng)
        theirs.grad = torch.tensor(grad)
        optimiser.step()
        adam_step(param, grad, first, second, 2e-3, step)
    np.testing.assert_allclose(param, theirs.detach().numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("active", [0, 1, 4, 16])
def test_active_bases_and_two_rates(active, rng):
    param, grad = _case((60, 16, 3), rng)
    visible = rng.random(60) < 0.6
    rate = np.array([2.5e-3] + 15 * [2.5e-3 / 20], np.float32)[:, None]
    first, second = np.zeros_like(param), np.zeros_like(param)
    expected, m, v = adam_reference(param, grad, first, second, rate, 1, visible=visible, active=active)
    before = param.copy()
    adam_step(param, grad, first, second, rate, 1, visible, active)
    np.testing.assert_allclose(param, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(param[:, active:], before[:, active:])
    np.testing.assert_allclose(first, m, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(second, v, rtol=1e-5, atol=1e-12)


def test_same_bits_for_every_number_of_threads(rng, monkeypatch):
    start, grad = _case((20001, 3), rng)
    visible = rng.random(20001) < 0.5
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("SCENEREP_THREADS", threads)
        param, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
        for step in (1, 2):
            adam_step(param, grad, first, second, 0.01, step, visible)
        results.append((param.tobytes(), second.tobytes()))
    assert results[0] == results[1] == results[2]


def test_refusals(rng):
    param, grad = _case((5, 3), rng)
    first, second = np.zeros_like(param), np.zeros_like(param)
    with pytest.raises(SceneRepError, match="step is 0"):
        adam_step(param, grad, first, second, 0.01, 0)
    with pytest.raises(SceneRepError, match=r"grad is float32 \(4, 3\)"):
        adam_step(param, grad[:4], first, second, 0.01, 1)
    with pytest.raises(SceneRepError, match="expected contiguous float32"):
        adam_step(param.astype(np.float64), grad, first, second, 0.01, 1)
    with pytest.raises(SceneRepError, match=r"visible has shape \(4,\)"):
        adam_step(param, grad, first, second, 0.01, 1, np.ones(4, dtype=bool))
    with pytest.raises(SceneRepError, match="active=4"):
        adam_step(param, grad, first, second, 0.01, 1, active=4)


_ISA_CHECK = """
import numpy as np
from scenerep.splats.adam import adam_step
from scenerep.splats.adam_reference import adam_reference
rng = np.random.default_rng(0)
param, grad = rng.normal(size=(2, 333, 3)).astype(np.float32)
first, second = np.zeros_like(param), np.zeros_like(param)
visible = rng.random(333) < 0.7
expected, _, _ = adam_reference(param, grad, first, second, 0.01, 1, visible=visible)
adam_step(param, grad, first, second, 0.01, 1, visible)
assert np.abs(param - expected).max() < 1e-6
"""


@pytest.mark.parametrize("isa", ["x86-64", "x86-64-v3", "x86-64-v4", "aarch64", "generic"])
def test_every_build(isa):
    from scenerep.native import available_isas

    if isa not in available_isas():
        pytest.skip(f"{isa} is not built or does not run on this CPU")
    subprocess.run([sys.executable, "-c", _ISA_CHECK], env={**os.environ, "SCENEREP_ISA": isa}, check=True)
