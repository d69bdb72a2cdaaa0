from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scenerep.errors import SceneRepError
from scenerep.field_shapes import NETWORKS, FieldShape, NetworkName, shape_within
from scenerep.implicit.networks import HashGrid, Sl2a, field_of, new_field


@pytest.mark.parametrize("inputs", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_hold_what_they_say(name: NetworkName, inputs: int) -> None:
    shape = shape_within(name, inputs, 3, 20_000, finest=64)
    field = new_field(shape, 0)
    assert sum(p.numel() for p in field.parameters()) == shape.count()
    assert 0.8 * 20_000 < shape.count() <= 20_000
    assert shape.fault() is None
    out = field(torch.rand(7, inputs) * 2 - 1)
    assert out.shape == (7, 3)
    assert torch.isfinite(out).all()
    out.square().sum().backward()
    without = [key for key, p in field.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_there_and_back(name: NetworkName) -> None:
    shape = shape_within(name, 3, 1, 5000, finest=64)
    field = new_field(shape, 1)
    again = field_of(shape, field.weights())
    x = torch.rand(50, 3) * 2 - 1
    torch.testing.assert_close(again(x), field(x), rtol=0, atol=0)
    assert list(field.weights()) == list(shape.arrays())
    wrong = field.weights() | {"w_out" if name == "sl2a" else "w0": np.zeros(3, np.float32)}
    with pytest.raises(SceneRepError, match="shape"):
        again.put(wrong)


def test_seeds_decide() -> None:
    shape = shape_within("finer", 2, 3, 3000)
    first, same, other = (new_field(shape, seed).weights()["w1"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_a_hash_grid_interpolates_its_tables() -> None:
    """Levels that fit are interpolated linearly: at a vertex its row, half way between two their mean."""
    shape = FieldShape("hash-grid", 2, 3, 4, 1, detail=16, rank=1000, levels=1)
    assert shape.level_rows() == [17 * 17]
    field = new_field(shape, 0)
    assert isinstance(field, HashGrid)
    rows = {(x, y): int(field._index(torch.tensor([[x, y]]), 16, 289)) for x in range(17) for y in range(17)}
    assert sorted(rows.values()) == list(range(289))
    with torch.no_grad():
        field.table0.zero_()
        field.table0[rows[3, 5], 0] = 1.0
        field.w0.zero_()
        field.b0.zero_()
        field.w0[0, 0] = 1.0
        field.w1.fill_(1.0)
        field.b1.zero_()
    at = torch.tensor([[3.0, 5.0], [3.5, 5.0], [3.5, 5.5], [4.0, 5.0], [3.0, 7.0]]) / 16 * 2 - 1
    torch.testing.assert_close(field(at)[:, 0], torch.tensor([1.0, 0.5, 0.25, 0.0, 0.0]))


def test_hashed_rows_stay_in_their_table() -> None:
    shape = FieldShape("hash-grid", 3, 1, 8, 2, detail=512, rank=97, levels=8)
    field = new_field(shape, 0)
    edge = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, 0.3]])
    assert torch.isfinite(field(edge)).all()


def test_sl2a_polynomials_are_those_of_chebyshev() -> None:
    shape = FieldShape("sl2a", 2, 3, 4, 1, detail=3, rank=2)
    field = new_field(shape, 0)
    assert isinstance(field, Sl2a)
    x = torch.rand(5, 2, dtype=torch.float32) * 2 - 1
    u = torch.tanh(x)
    basis = torch.stack([torch.ones_like(u), u, 2 * u**2 - 1, 4 * u**3 - 3 * u], dim=-1).reshape(5, -1)
    psi = torch.nn.functional.layer_norm(basis @ field.poly.T, (4,))
    y = torch.relu(psi * psi @ field.a0.T @ field.c0.T + field.b0)
    torch.testing.assert_close(field(x), psi * y @ field.w_out.T + field.b_out, rtol=1e-4, atol=1e-4)


@given(st.sampled_from(NETWORKS), st.integers(300, 200_000), st.sampled_from([2, 3]))
def test_a_shape_never_has_more_weights_than_allowed(name: NetworkName, weights: int, inputs: int) -> None:
    shape = shape_within(name, inputs, 1, weights)
    smallest = shape_within(name, inputs, 1, 0)
    assert shape.count() <= max(weights, smallest.count())
