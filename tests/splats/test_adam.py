"""The Adam kernel against NumPy and torch, and the row operations of densification."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from scenerep.errors import FormatError, SceneRepError
from scenerep.splats.adam import Adam
from scenerep.splats.adam_reference import adam_reference

SHAPES = [(0, 3), (1, 3), (7,), (33, 3), (50, 4), (1000,), (6000, 3), (37, 9, 3), (400, 16, 3)]


def _case(shape, rng):
    param, grad = rng.normal(size=(2, *shape)).astype(np.float32)
    return param, grad * 10.0 ** rng.integers(-6, 1, size=shape).astype(np.float32)


@pytest.mark.parametrize("seen", [None, 0.0, 0.5, 0.95])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_equals_numpy(shape, seen, rng):
    param, _ = _case(shape, rng)
    lr = np.float32(0.01) * rng.random(shape[1:]).astype(np.float32)
    p, m, v = (a.astype(np.float64) for a in (param, np.zeros(shape), np.zeros(shape)))
    adam = Adam()
    for step in range(1, 4):
        _, grad = _case(shape, rng)
        visible = None if seen is None else rng.random(shape[0]) < seen
        before = param.copy()
        adam.advance()
        adam.step("a", param, grad, lr, visible)
        p, m, v = adam_reference(p, grad.astype(np.float64), m, v, lr, step, visible=visible)
        np.testing.assert_allclose(param, p, rtol=0, atol=1e-6)
        if visible is not None:
            np.testing.assert_array_equal(param[~visible], before[~visible])
    np.testing.assert_allclose(adam.state()["a.m"], m, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(adam.state()["a.v"], v, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("shape", [(1000,), (500, 3), (200, 16, 3)])
def test_equals_torch_when_all_are_seen(shape, rng):
    param, _ = _case(shape, rng)
    theirs = torch.tensor(param, requires_grad=True)
    optimiser = torch.optim.Adam([theirs], lr=2e-3, eps=1e-15, fused=True)
    ours, adam = torch.tensor(param, requires_grad=True), Adam()
    for _ in range(10):
        _, grad = _case(shape, rng)
        theirs.grad = torch.tensor(grad)
        optimiser.step()
        adam.advance()
        adam.step("a", ours, torch.tensor(grad), 2e-3)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("active", [0, 1, 4, 16])
def test_active_bases_and_two_rates(active, rng):
    param, grad = _case((60, 16, 3), rng)
    visible = rng.random(60) < 0.6
    lr = np.array([2.5e-3] + 15 * [2.5e-3 / 20], np.float32)[:, None]
    zeros = np.zeros_like(param)
    expected, m, v = adam_reference(param, grad, zeros, zeros, lr, 1, visible=visible, active=active)
    before, adam = param.copy(), Adam()
    adam.advance()
    adam.step("sh", param, grad, lr, visible, active)
    np.testing.assert_allclose(param, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(param[:, active:], before[:, active:])
    np.testing.assert_allclose(adam.state()["sh.m"], m, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(adam.state()["sh.v"], v, rtol=1e-5, atol=1e-12)


def test_rate_per_row(rng):
    param, grad = _case((45, 3), rng)
    scale = rng.random(45).astype(np.float32)
    zeros = np.zeros_like(param)
    expected, _, _ = adam_reference(param, grad, zeros, zeros, 0.01, 1, row_scale=scale)
    adam = Adam()
    adam.advance()
    adam.step("a", param, grad, 0.01, row_scale=scale)
    np.testing.assert_allclose(param, expected, rtol=0, atol=1e-6)


def test_same_bits_for_every_number_of_threads(rng, monkeypatch):
    start, grad = _case((20001, 3), rng)
    visible = rng.random(20001) < 0.5
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("SCENEREP_THREADS", threads)
        param, adam = start.copy(), Adam()
        for _ in range(2):
            adam.advance()
            adam.step("a", param, grad, 0.01, visible)
        results.append((param.tobytes(), adam.state()["a.v"].tobytes()))
    assert results[0] == results[1] == results[2]


def test_rows_follow_densification(rng):
    param, grad = _case((6, 3), rng)
    adam = Adam()
    adam.advance()
    adam.step("means", param, grad, 0.01)
    adam.step("opacity", param[:, 0].copy(), grad[:, 0].copy(), 0.01)
    m, v = (adam.state()[f"means.{k}"].copy() for k in "mv")
    adam.select(np.array([4, 0, 0]))
    adam.append(2)
    np.testing.assert_array_equal(adam.state()["means.m"], np.concatenate([m[[4, 0, 0]], np.zeros((2, 3))]))
    np.testing.assert_array_equal(adam.state()["means.v"], np.concatenate([v[[4, 0, 0]], np.zeros((2, 3))]))
    assert adam.state()["opacity.m"].shape == (5,)
    adam.zero([1], "means")
    assert not adam.state()["means.m"][1].any() and adam.state()["means.m"][2].any()
    assert adam.state()["opacity.m"][1] != 0
    adam.select(torch.tensor([True, False, True, False, True]))
    np.testing.assert_array_equal(adam.state()["means.m"], np.stack([m[4], m[0], np.zeros(3)]))
    adam.zero()
    assert not any(adam.state()[key].any() for key in ("means.m", "means.v", "opacity.m", "opacity.v"))


def test_a_checkpoint_continues_with_the_same_bits(rng):
    start, grad = _case((30, 4), rng)
    straight, adam = start.copy(), Adam()
    for _ in range(2):
        adam.advance()
        adam.step("a", straight, grad, 0.01)
    halfway, first = start.copy(), Adam()
    first.advance()
    first.step("a", halfway, grad, 0.01)
    second = Adam()
    second.load({key: array.copy() for key, array in first.state().items()})
    second.advance()
    second.step("a", halfway, grad, 0.01)
    np.testing.assert_array_equal(halfway, straight)
    assert second.steps == 2


def test_refusals(rng):
    param, grad = _case((5, 3), rng)
    adam = Adam()
    with pytest.raises(SceneRepError, match="before the first advance"):
        adam.step("a", param, grad, 0.01)
    adam.advance()
    with pytest.raises(SceneRepError, match=r"its gradient \(4, 3\)"):
        adam.step("a", param, grad[:4], 0.01)
    with pytest.raises(SceneRepError, match="contiguous float32"):
        adam.step("a", param.astype(np.float64), grad, 0.01)
    with pytest.raises(SceneRepError, match=r"visible of a has shape \(4,\)"):
        adam.step("a", param, grad, 0.01, np.ones(4, bool))
    with pytest.raises(SceneRepError, match="4 active entries"):
        adam.step("a", param, grad, 0.01, active=4)
    adam.step("a", param, grad, 0.01)
    with pytest.raises(SceneRepError, match=r"its moments \(5, 3\)"):
        adam.step("a", param[:4].copy(), grad[:4].copy(), 0.01)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.pop("a.v"),
        lambda s: s.pop("steps"),
        lambda s: s.update({"b": s["a.m"]}),
        lambda s: s.update({"a.v": s["a.v"][:2]}),
        lambda s: s.update({"a.v": s["a.v"].astype(np.float64)}),
        lambda s: s.update({"steps": np.array(-1)}),
    ],
)
def test_a_broken_state_is_refused_and_changes_nothing(change, rng):
    param, grad = _case((5, 3), rng)
    adam = Adam()
    adam.advance()
    adam.step("a", param, grad, 0.01)
    state = adam.state()
    before = state["a.m"].copy()
    change(state)
    with pytest.raises(FormatError, match="optimiser state"):
        adam.load(state)
    assert adam.steps == 1
    np.testing.assert_array_equal(adam.state()["a.m"], before)


_CHILD = """
import sys, numpy as np
from scenerep.splats.adam import Adam
data = np.load(sys.argv[1])
adam, param = Adam(), data["param"].copy()
for _ in range(3):
    adam.advance()
    adam.step("a", param, data["grad"], 0.01, data["visible"])
np.save(sys.argv[2], param)
"""


@pytest.mark.parametrize("isa", ["x86-64", "x86-64-v3", "x86-64-v4", "generic"])
def test_every_instruction_set(isa, rng, tmp_path):
    param, grad = _case((101, 3), rng)
    visible = rng.random(101) < 0.5
    np.savez(tmp_path / "in.npz", param=param, grad=grad, visible=visible)
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, tmp_path / "in.npz", tmp_path / "out.npy"],
        env={**os.environ, "SCENEREP_ISA": isa},
        capture_output=True,
        text=True,
    )
    if child.returncode and ("does not run on this CPU" in child.stderr or "was built without" in child.stderr):
        pytest.skip(f"{isa} is not for this machine")
    assert child.returncode == 0, child.stderr
    p, m, v = param, np.zeros_like(param), np.zeros_like(param)
    for step in (1, 2, 3):
        p, m, v = adam_reference(p, grad, m, v, 0.01, step, visible=visible)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), p, rtol=0, atol=1e-6)
