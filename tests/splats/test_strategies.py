"""Strategies of densification: laws that all keep, then what each is about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from splat_cases import assert_same_arrays, front_camera, random_model, random_scene

from scenerep.geometry.quaternions import rotation_from_quaternion
from scenerep.render import render
from scenerep.scenes import Gaussians
from scenerep.splats.config import DensifyConfig, SplatsConfig
from scenerep.splats.densify import Budget, Classic, Mcmc, classic, make_strategy
from scenerep.splats.densify.base import draw, logit, split_long_axis
from scenerep.splats.densify.mcmc import share
from scenerep.splats.model import NAMES, Model

KINDS = {"budget": Budget, "mcmc": Mcmc, "classic": Classic}
DEAD = DensifyConfig().dead_opacity


def _refined(kind: str, seed: int, count: int, budget: int, progress: float, previous: float, odd: str = "") -> Model:
    """A random model after a refinement; `odd` makes its state an awkward one."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, count, capacity=budget)
    if odd == "unseen":
        model.forget_statistics()
    elif odd == "dead":
        model.all["opacity_logits"][:] = -200
    elif odd == "solid":
        model.all["opacity_logits"][:] = 30  # rounds to an opacity of exactly 1
    elif odd == "needles":
        model.all["log_scales"][:, 0] = 20
        model.all["log_scales"][:, 1:] = -40
    elif odd == "one gradient":
        model.screen_norm[1:] = 0
    strategy = KINDS[kind](DensifyConfig(), budget, min(count, 10), 2.0)
    strategy.refine(model, progress, previous, rng)
    return model


ODD = ["", "unseen", "dead", "solid", "needles", "one gradient"]


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 90),
    room=st.integers(0, 100),
    progress=st.floats(0, 1),
    odd=st.sampled_from(ODD),
)
def test_laws(kind, seed, count, room, progress, odd):
    budget = count + room
    model = _refined(kind, seed, count, budget, progress, max(0.0, progress - 0.1), odd)
    assert 1 <= model.count <= budget
    assert model.capacity == budget  # nothing had to be reallocated
    for name, array in model.state().items():
        assert np.isfinite(array).all(), name
    assert (np.linalg.norm(model.params["quats"], axis=1) > 0).all()
    assert not model.screen_norm.any()
    assert not model.screen_count.any()


@pytest.mark.parametrize("kind", KINDS)
def test_deterministic(kind):
    a, b, c = (_refined(kind, seed, 60, 90, 0.5, 0.4) for seed in (3, 3, 4))
    assert_same_arrays(a.state(), b.state())
    assert a.count != c.count or np.any(a.params["means"] != c.params["means"])


@pytest.mark.parametrize("kind", KINDS)
def test_dead_ones_leave_their_places(kind, rng):
    model = random_model(rng, 80, capacity=200)
    dead = model.opacities < DEAD
    assert 5 < dead.sum() < 40
    old = {tuple(m) for m in model.params["means"][dead]}
    KINDS[kind](DensifyConfig(), 200, 80, 2.0).refine(model, 0.3, 0.29, rng)
    assert old.isdisjoint({tuple(m) for m in model.params["means"]})


@pytest.mark.parametrize("kind", ["budget", "mcmc"])
def test_dead_rows_are_used_again(kind, rng):
    """At the full budget the count stays, and what was dead is elsewhere."""
    model = random_model(rng, 80)
    model.screen_norm[:] = 1e-3
    model.screen_count[:] = 1
    KINDS[kind](DensifyConfig(), 80, 80, 2.0).refine(model, 0.5, 0.4, rng)
    assert model.count == 80


def test_make_strategy():
    for name, kind in KINDS.items():
        config = SplatsConfig(densify=DensifyConfig(strategy=name), max_gaussians=50)
        assert type(make_strategy(config, 10, 1.0)) is kind


# --- what they share


def test_draw_is_without_replacement_and_complete(rng):
    weights = np.array([0.0, 3.0, 1e-30, 0.0, 5.0, 1e20])
    for count in range(8):
        rows = draw(weights, count, rng)
        assert len(rows) == min(count, 4)
        assert len(set(rows.tolist())) == len(rows)
        assert set(rows.tolist()) <= {1, 2, 4, 5}
        assert rows.tolist() == sorted(rows.tolist())
    assert draw(weights, -3, rng).size == 0
    assert draw(np.zeros(5), 3, rng).size == 0
    assert draw(np.zeros(0), 3, rng).size == 0


def test_draw_is_proportional(rng):
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    trials = 20_000
    hits = np.bincount([draw(weights, 1, rng)[0] for _ in range(trials)], minlength=4)
    expected = weights / weights.sum()
    # Four standard deviations of a binomial count.
    assert (np.abs(hits / trials - expected) < 4 * np.sqrt(expected * (1 - expected) / trials)).all()


def test_draw_of_pairs_is_successive_sampling(rng):
    """Of two drawn, the pair {i, j} has the probability w_i w_j (1 / (1 - w_i) + 1 / (1 - w_j))."""
    w = np.array([0.1, 0.3, 0.6])
    trials = 20_000
    pairs = np.array([draw(w, 2, rng) for _ in range(trials)])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        expected = w[i] * w[j] * (1 / (1 - w[i]) + 1 / (1 - w[j]))
        found = (pairs == [i, j]).all(axis=1).mean()
        assert abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / trials)


def test_rotation_from_quaternion(rng):
    quats = rng.normal(size=(20, 4)) * 10.0 ** rng.integers(-3, 3, (20, 1))
    r = rotation_from_quaternion(quats)
    np.testing.assert_allclose(r @ r.transpose(0, 2, 1), np.tile(np.eye(3), (20, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(r), 1)
    half = np.sqrt(0.5)
    turned = rotation_from_quaternion(np.array([[half, 0, 0, half]]))[0] @ [1, 0, 0]  # 90 degrees about z
    np.testing.assert_allclose(turned, [0, 1, 0], atol=1e-12)


def test_logit_inverts_and_stays_finite():
    p = np.array([1e-3, 0.2, 0.5, 0.99])
    np.testing.assert_allclose(1 / (1 + np.exp(-logit(p))), p)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


def test_long_axis_split(rng):
    scene = random_scene(rng, 40)
    values = scene.arrays()
    before = {name: a.copy() for name, a in values.items()}
    children = split_long_axis(values)
    assert_same_arrays(values, before)  # the parent is left alone
    n = np.arange(40)
    axis = values["log_scales"].argmax(axis=1)
    long = rotation_from_quaternion(values["quats"])[n, :, axis]
    sigma = np.exp(values["log_scales"][n, axis])
    steps = [child["means"] - values["means"] for child in children]
    np.testing.assert_allclose(steps[0], -steps[1], atol=1e-6)
    # On the longest axis, equally far in units of its standard deviation.
    along = (steps[0] * long).sum(axis=1)
    np.testing.assert_allclose(np.linalg.norm(np.cross(steps[0], long), axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(along, along[0] / sigma[0] * sigma, rtol=1e-4)
    assert 0 < along[0] / sigma[0] < 2
    others = np.ones((40, 3), dtype=bool)
    others[n, axis] = False
    for child in children:
        np.testing.assert_array_equal(child["log_scales"][others], values["log_scales"][others])
        shrunk = values["log_scales"][n, axis] - child["log_scales"][n, axis]
        np.testing.assert_allclose(shrunk, shrunk[0], rtol=1e-4)
        assert shrunk[0] > 0
        for name in ("quats", "sh"):
            np.testing.assert_array_equal(child[name], values[name])
        alive = values["opacity_logits"] > -6
        assert (child["opacity_logits"][alive] <= values["opacity_logits"][alive]).all()
        assert {a.dtype for a in child.values()} == {np.dtype(np.float32)}
    for name in NAMES[1:]:
        np.testing.assert_array_equal(children[0][name], children[1][name])


# --- budget


def test_budget_reaches_its_target(rng):
    model = random_model(rng, 60, capacity=100)
    model.all["opacity_logits"][:60] = 1.0
    model.screen_norm[:60] = model.screen_count[:60] = 1
    config = DensifyConfig()
    Budget(config, 100, 60, 1.0).refine(model, config.grow_until, 0.0, rng)
    assert model.count == 100


def test_budget_splits_where_the_gradient_is(rng):
    model = random_model(rng, 50, capacity=60)
    model.all["opacity_logits"][:50] = 1.0
    model.screen_count[:50] = 4
    model.screen_norm[:50] = 0
    model.screen_norm[[7, 19, 33]] = 1e-3
    before = model.gather(np.arange(50))
    Budget(DensifyConfig(), 60, 50, 1.0).refine(model, 1.0, 0.9, rng)
    assert model.count == 53  # no more parents than have a gradient
    moved = np.flatnonzero((model.params["means"][:50] != before["means"]).any(axis=1))
    assert moved.tolist() == [7, 19, 33]


def test_budget_uses_the_mean_gradient_not_the_sum():
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        model = random_model(rng, 2, capacity=3)
        model.all["opacity_logits"][:] = 1.0
        model.screen_norm[:2] = [9.0, 9.0]
        model.screen_count[:2] = [100, 1]  # seen a hundred times with small gradients; once, with a large one
        before = model.gather(np.arange(2))
        Budget(DensifyConfig(), 3, 2, 1.0).refine(model, 1.0, 0.9, rng)
        hits += bool((model.params["means"][1] != before["means"][1]).any())
    assert hits > 190  # expected: 198 of 200


# --- MCMC


@pytest.mark.parametrize("opacity", [0.05, 0.3, 0.7, 0.95, 0.999])
@pytest.mark.parametrize("copies", [1, 2, 3, 7, 20, 50])
def test_share_keeps_the_centre_and_the_integral(opacity, copies):
    """Eq. 9: N copies blend to the original's opacity at the centre, and to its integral along a line through it."""
    new, factor = (a[0] for a in share(np.array([opacity]), np.array([copies])))
    assert 1 - (1 - new) ** copies == pytest.approx(opacity, rel=1e-9)
    x = np.linspace(-12, 12, 20_001)
    original = opacity * np.exp(-(x**2) / 2)
    blended = 1 - (1 - new * np.exp(-((x / factor) ** 2) / 2)) ** copies
    assert np.trapezoid(blended, x) == pytest.approx(np.trapezoid(original, x), rel=1e-6)
    if copies == 1:
        assert (new, factor) == pytest.approx((opacity, 1))


def test_share_of_too_many_stays_finite():
    new, factor = share(np.array([0.0, 1.0, 0.5]), np.array([1000, 1000, 0]))
    assert np.isfinite(new).all()
    assert np.isfinite(factor).all()
    assert (new[2], factor[2]) == pytest.approx((0.5, 1))


@pytest.mark.parametrize("copies", [2, 5])
def test_rendered_copies_look_like_the_original(copies):
    camera = front_camera(121, 41)

    def row(count: int, opacity: float, sigma: float) -> np.ndarray:
        scene = Gaussians(
            means=np.tile([0.0, 0.0, 4.0], (count, 1)),
            log_scales=np.full((count, 3), np.log(sigma)),
            quats=np.tile([1.0, 0, 0, 0], (count, 1)),
            opacity_logits=np.full(count, np.log(opacity / (1 - opacity))),
            sh=np.zeros((count, 1, 3)),
        )
        return render(scene, camera).alpha[20]

    new, factor = share(np.array([0.8]), np.array([copies]))
    original, blended = row(1, 0.8, 1.0), row(copies, float(new[0]), float(factor[0]))
    middle = int(original.argmax())
    assert blended[middle] == pytest.approx(original[middle], abs=1e-3)
    # What lies below alpha = 1/255 is not drawn, more of it with more copies: some parts in a hundred of the area.
    assert blended.sum() == pytest.approx(original.sum(), rel=0.03)
    assert np.abs(blended - original).max() < 0.1


def test_mcmc_copies_sit_on_their_parents(rng):
    model = random_model(rng, 60)
    dead = np.flatnonzero(model.opacities < DEAD)
    alive = model.gather(np.flatnonzero(model.opacities >= DEAD))
    Mcmc(DensifyConfig(), 60, 60, 1.0).refine(model, 0.5, 0.4, rng)
    parents = {tuple(m): i for i, m in enumerate(alive["means"])}
    for row in dead:
        parent = parents[tuple(model.params["means"][row])]
        np.testing.assert_array_equal(model.params["quats"][row], alive["quats"][parent])
        np.testing.assert_array_equal(model.params["sh"][row], alive["sh"][parent])
        assert model.params["opacity_logits"][row] < alive["opacity_logits"][parent]
        ratio = model.params["log_scales"][row] - alive["log_scales"][parent]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3, atol=1e-6)  # one factor for all axes
        assert not model.first["means"][row].any()


def test_mcmc_grows_up_to_the_budget(rng):
    model = random_model(rng, 100, capacity=130)
    strategy = Mcmc(DensifyConfig(), 130, 100, 1.0)
    counts = [100]
    for i in range(12):
        strategy.refine(model, 0.05 * i, 0.05 * (i - 1), rng)
        counts.append(model.count)
    assert counts == sorted(counts)
    assert counts[1] > 100
    assert counts[-1] == 130


# --- classic


def _classic_model(rng, count: int = 30, room: int = 30) -> Model:
    model = random_model(rng, count, capacity=count + room)
    model.all["opacity_logits"][:count] = 1.0
    model.screen_norm[:count], model.screen_count[:count] = 0, 3
    return model


def test_classic_clones_small_and_splits_large(rng):
    model = _classic_model(rng)
    scale = 2.0
    model.all["log_scales"][:15] = np.log(0.5 * classic._SMALL * scale)
    model.all["log_scales"][15:30] = np.log(2.0 * classic._SMALL * scale)
    model.screen_norm[[3, 20]] = 3 * 2 * DensifyConfig().gradient_threshold
    before = model.gather(np.arange(30))
    Classic(DensifyConfig(), 60, 30, scale).refine(model, 0.05, 0.04, rng)
    assert model.count == 32
    untouched = [i for i in range(30) if i != 20]
    for name in NAMES:
        np.testing.assert_array_equal(model.params[name][untouched], before[name][untouched])
        np.testing.assert_array_equal(model.params[name][30], before[name][3])  # the clone
    for row in (20, 31):  # the two children
        assert (model.params["log_scales"][row] < before["log_scales"][20]).all()
        offset = model.params["means"][row] - before["means"][20]
        assert 0 < np.linalg.norm(offset) < 6 * np.exp(before["log_scales"][20].max())
        np.testing.assert_array_equal(model.params["quats"][row], before["quats"][20])


def test_classic_stops_at_the_budget_and_takes_the_worst_first(rng):
    model = _classic_model(rng, count=40, room=5)
    model.screen_norm[:40] = 1.0
    Classic(DensifyConfig(), 45, 40, 2.0).refine(model, 0.05, 0.04, rng)
    assert model.count == 45


def test_classic_resets_opacities_at_every_boundary_of_the_first_half(rng):
    every, until, low = classic._RESET_EVERY, classic._RESET_UNTIL, classic._RESET_TO
    strategy = Classic(DensifyConfig(), 60, 30, 2.0)
    for boundary in (every, 2 * every):
        model = _classic_model(rng)
        model.all["opacity_logits"][0] = -5  # below what the others are reset to
        strategy.refine(model, boundary + 1e-6, boundary - 1e-6, rng)
        np.testing.assert_allclose(model.opacities[1:], low, rtol=1e-4)
        assert model.opacities[0] == pytest.approx(1 / (1 + np.exp(5)))
        assert not model.first["opacity_logits"][:30].any()
        assert model.first["means"][:30].any()
    for progress, previous in ((1.9 * every, 1.5 * every), (until + every + 1e-6, until + every - 1e-6)):
        model = _classic_model(rng)
        strategy.refine(model, progress, previous, rng)
        np.testing.assert_array_equal(model.params["opacity_logits"], 1.0)
