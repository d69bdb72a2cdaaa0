"""The model's rows: added, removed, rewritten, grown, saved."""

from __future__ import annotations

import numpy as np
import pytest
from splat_cases import random_model, random_scene

from scenerep.splats.model import NAMES, Model


def _moments(model: Model, rows) -> list[np.ndarray]:
    return [group[name][rows] for group in (model.first, model.second) for name in NAMES]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_starts_as_the_scene(count, rng):
    scene = random_scene(rng, count)
    model = Model(scene, 12)
    assert (model.count, model.capacity) == (count, 12)
    for name, array in model.scene().arrays().items():
        np.testing.assert_array_equal(array, scene.arrays()[name])
    assert all(not m.any() for m in _moments(model, slice(None)))


def test_capacity_is_never_below_the_scene(rng):
    assert Model(random_scene(rng, 9), 4).capacity == 9


def test_append_forgets_what_the_rows_held(rng):
    model = random_model(rng, 6, capacity=10)
    gone = np.array([True, False, False, True, False, False])
    values = model.gather(np.array([1, 2]))
    kept = model.gather(np.flatnonzero(~gone))
    model.remove(gone)
    assert model.count == 4
    for name in NAMES:
        np.testing.assert_array_equal(model.params[name], kept[name])
    # The rows after the last one in use still hold moments of rows that moved: append must not bring them back.
    rows = model.append(values)
    np.testing.assert_array_equal(rows, [4, 5])
    assert model.capacity == 10
    for name in NAMES:
        np.testing.assert_array_equal(model.params[name][4:], values[name])
    assert all(not m.any() for m in _moments(model, rows))


def test_remove_moves_the_moments_along(rng):
    model = random_model(rng, 8)
    gone = rng.random(8) < 0.5
    expected = [m.copy() for m in _moments(model, np.flatnonzero(~gone))]
    model.remove(gone)
    for found, kept in zip(_moments(model, slice(0, model.count)), expected):
        np.testing.assert_array_equal(found, kept)


def test_remove_all_and_none(rng):
    model = random_model(rng, 5)
    before = model.gather(np.arange(5))
    model.remove(np.zeros(5, dtype=bool))
    for name in NAMES:
        np.testing.assert_array_equal(model.params[name], before[name])
    model.remove(np.ones(5, dtype=bool))
    assert model.count == 0
    assert model.append(before).tolist() == [0, 1, 2, 3, 4]


def test_append_beyond_the_capacity(rng):
    model = random_model(rng, 4, capacity=5)
    state = {name: array.copy() for name, array in model.state().items()}
    values = model.gather(np.array([0, 1, 2, 3, 0, 1]))
    model.append(values)
    assert model.count == 10
    assert model.capacity >= 10
    for name, array in model.state().items():
        assert len(array) == 10
        np.testing.assert_array_equal(array[:4], state[name], err_msg=name)
    arrays = [*model.all.values(), *model.first.values(), *model.second.values(), model.screen_norm, model.screen_count]
    assert {len(array) for array in arrays} == {model.capacity}
    assert not model.screen_norm[4:].any()


def test_append_nothing(rng):
    model = random_model(rng, 3)
    assert model.append(model.gather(np.zeros(0, dtype=int))).size == 0
    assert model.count == 3


def test_write_touches_only_what_it_is_given(rng):
    model = random_model(rng, 5)
    before = {name: array.copy() for name, array in model.state().items()}
    model.write(np.array([1, 3]), {"opacity_logits": np.array([-1.0, 2.0], np.float32)})
    after = model.state()
    np.testing.assert_array_equal(after["opacity_logits"][[1, 3]], [-1, 2])
    np.testing.assert_array_equal(after["first.opacity_logits"][[1, 3]], 0)
    np.testing.assert_array_equal(after["second.opacity_logits"][[1, 3]], 0)
    for name, array in after.items():
        rows = [0, 2, 4] if name.endswith("opacity_logits") else slice(None)
        np.testing.assert_array_equal(array[rows], before[name][rows], err_msg=name)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_state_round_trip(count, rng):
    model = random_model(rng, count, capacity=30)
    state = {name: array.copy() for name, array in model.state().items()}
    back = Model.from_state(state, 30)
    assert (back.count, back.capacity) == (count, 30)
    assert back.state().keys() == state.keys()
    for name, array in back.state().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
    for name in ("means", "first.sh", "screen_norm"):  # nothing shared: training on must not change what was read
        assert not np.shares_memory(back.state()[name], state[name])


def test_opacities(rng):
    model = random_model(rng, 50)
    expected = 1 / (1 + np.exp(-model.params["opacity_logits"].astype(np.float64)))
    np.testing.assert_allclose(model.opacities, expected, rtol=1e-6)


def test_scene_copies_unless_told_otherwise(rng):
    model = random_model(rng, 4)
    copy, view = model.scene(antialiased=True), model.scene(copy=False)
    assert copy.antialiased
    assert not view.antialiased
    model.all["means"][0] += 1
    assert np.any(copy.means[0] != model.all["means"][0])
    np.testing.assert_array_equal(view.means[0], model.all["means"][0])


def test_forget_statistics(rng):
    model = random_model(rng, 6)
    assert model.screen_count.any()
    model.forget_statistics()
    assert not model.screen_norm.any()
    assert not model.screen_count.any()


def test_bytes_per_gaussian_are_those_of_the_documentation():
    """docs/performance.md: 236 bytes of parameters at degree 3, three times that with the moments, 8 of statistics."""
    model = Model(random_scene(np.random.default_rng(0), 10, 3), 10)
    arrays = [*model.all.values(), *model.first.values(), *model.second.values()]
    assert sum(a.nbytes for a in model.all.values()) == 10 * 236
    assert sum(a.nbytes for a in arrays) + model.screen_norm.nbytes + model.screen_count.nbytes == 10 * (3 * 236 + 8)
