"""Steps, rounding, layers and the search for lambda."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendered_capture import ring, small_scene

from scenerep.coding import quantise
from scenerep.compress.rdo.config import RdoConfig
from scenerep.compress.rdo.curvature import Arrays, canonical_scene, coordinates, curvature
from scenerep.compress.rdo.decide import decide, quantisation_error, solve
from scenerep.compress.rdo.layers import layered
from scenerep.compress.rdo.rdoq import optimise_sh
from scenerep.compress.rdo.steps import fixed_steps, steps_for
from scenerep.compress.views import Views
from scenerep.scenes import Gaussians

LAMBDAS = (1e-9, 1e-7, 1e-5)


@pytest.fixture(scope="module")
def scene() -> Gaussians:
    return canonical_scene(small_scene(300, degree=2), True)


@pytest.fixture(scope="module")
def x(scene: Gaussians) -> Arrays:
    return coordinates(scene)


@pytest.fixture(scope="module")
def h(scene: Gaussians) -> Arrays:
    return curvature(scene, Views.of_renders(scene, ring(8)), range(8), 0)


@pytest.mark.parametrize("choose", [steps_for, fixed_steps])
def test_steps_grow_with_lambda(choose, x: Arrays, h: Arrays) -> None:
    fine, _, coarse = (choose(x, h, value, True, 2) for value in LAMBDAS)
    for name in ("position", "log_scale", "rotation", "opacity", "colour_luma"):
        assert getattr(fine, name) < getattr(coarse, name)
    assert fine.sh_degree == 2


def test_error_is_that_of_the_rounding(scene: Gaussians, x: Arrays, h: Arrays) -> None:
    """Uniform rounding errors: step squared over twelve, times the curvature."""
    q = quantise(scene, steps_for(x, h, 1e-9, True, 2))
    only = {name: a if name == "colours" else np.zeros_like(a) for name, a in h.items()}
    s = q.quantiser
    expected = (h["colours"] * np.array([s.colour_luma, s.colour_chroma, s.colour_chroma]) ** 2).sum() / 12
    assert quantisation_error(q, x, only, np.ones(len(scene), bool)) == pytest.approx(float(expected), rel=0.35)


def test_rdoq_moves_towards_zero_and_only_where_it_pays(scene: Gaussians, x: Arrays, h: Arrays) -> None:
    q = quantise(scene, steps_for(x, h, 1e-8, True, 2))
    np.testing.assert_array_equal(optimise_sh(q, x, h, 0.0).sh, q.sh)
    before = np.count_nonzero(q.sh)
    counts = []
    for lambda_ in LAMBDAS:
        moved = optimise_sh(q, x, h, lambda_).sh
        assert (np.abs(moved) <= np.abs(q.sh)).all()
        assert (moved * q.sh >= 0).all()
        counts.append(np.count_nonzero(moved))
    assert before >= counts[0] > counts[1] > counts[2]
    assert np.count_nonzero(optimise_sh(q, x, h, 1.0).sh) == 0


def test_rdoq_without_sh(scene: Gaussians, h: Arrays) -> None:
    plain = replace(scene, sh=scene.sh[:, :1])
    x = coordinates(plain)
    q = quantise(plain, steps_for(x, h, 1e-8, True, 0))
    assert optimise_sh(q, x, h, 1.0) is q


def test_bits_fall_and_error_grows_with_lambda(scene: Gaussians, x: Arrays, h: Arrays) -> None:
    decisions = [decide(scene, x, h, value, RdoConfig(), True) for value in LAMBDAS]
    sizes, errors = [d.bytes for d in decisions], [d.error for d in decisions]
    assert sizes[0] > sizes[1] > sizes[2]
    assert errors[0] < errors[1] < errors[2]


def test_removal_is_limited(scene: Gaussians, x: Arrays, h: Arrays) -> None:
    everything = decide(scene, x, h, 1e3, RdoConfig(), True)
    assert everything.keep.sum() == 1  # never an empty scene
    some = decide(scene, x, h, 1e3, RdoConfig(), True, most=0.25)
    assert some.keep.sum() == 225
    assert decide(scene, x, h, 1e3, RdoConfig(prune=False), True).keep.all()


@given(st.floats(-3, 3), st.floats(0.2, 3.0), st.floats(-2, 2))
@settings(max_examples=50, deadline=None)
def test_solve_meets_a_goal(start: float, power: float, goal: float) -> None:
    lambda_, value = solve(lambda v: v**power, 10.0**goal, 10.0**start, tolerance=0.05, most=40)
    assert value == pytest.approx(lambda_**power)
    assert 0.95 * 10.0**goal * (1 - 1e-9) <= value <= 10.0**goal


@pytest.mark.parametrize("n", [1, 2, 7, 300])
def test_layers_hold_the_most_important_first(scene: Gaussians, x: Arrays, h: Arrays, n: int) -> None:
    q = quantise(scene.select(np.arange(n)), steps_for(x, h, 1e-7, True, 2))
    importance = np.random.default_rng(n).random(n)
    found = layered(q, importance, 4)
    assert found.layer_count == min(4, n)
    for layer in range(1, found.layer_count):
        if (found.layers == layer).any() and (found.layers < layer).any():
            assert importance[found.layers == layer].max() <= importance[found.layers < layer].min()
    if n == 300:
        assert np.bincount(found.layers).tolist() == pytest.approx([38, 37, 75, 150], abs=1)
