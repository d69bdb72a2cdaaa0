from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerep.coding.haar_tree import UNITS, backward, forward, stages
from scenerep.coding.order import morton_codes


def _decode(root: np.ndarray, q: list[np.ndarray], tree: list) -> np.ndarray:
    walk = backward(root, tree)
    number, values = next(walk)
    while number >= 0:
        number, values = walk.send(q[number])
    return values


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_errors_are_of_the_size_of_a_step(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.unique(morton_codes(rng.integers(0, 16, (n, 3))))
    values = rng.normal(0, 300, (len(codes), 3))
    tree = stages(codes, 12)
    q, root = forward(values, np.ones(len(codes)), tree, 0.0)
    assert np.abs(_decode(root, q, tree) - values).max() < 2.5 * UNITS


def test_a_larger_lambda_leaves_more_out(rng: np.random.Generator) -> None:
    codes = np.unique(morton_codes(rng.integers(0, 32, (4000, 3))))
    values = rng.normal(0, 200, (len(codes), 1))
    tree = stages(codes, 15)
    kept, errors = [], []
    for lam in (0.0, 1e3, 1e5, 1e9):
        q, root = forward(values, np.ones(len(codes)), tree, lam)
        kept.append(sum(int(np.count_nonzero(x)) for x in q))
        errors.append(float(np.mean((_decode(root, q, tree) - values) ** 2)))
    assert kept == sorted(kept, reverse=True)
    assert errors == sorted(errors)
    assert kept[-1] == 0


def test_what_nobody_sees_follows_what_is_seen() -> None:
    codes = np.arange(8, dtype=np.uint64)
    values = np.array([[1000.0], [-700], [1000], [900], [1000], [-3000], [1000], [0]])
    weights = np.array([1, 1e-9, 1, 1e-9, 1, 1e-9, 1, 1e-9])
    tree = stages(codes, 3)
    q, root = forward(values, weights, tree, 1.0)
    assert not any(x.any() for x in q)
    assert _decode(root, q, tree) == pytest.approx(1000, abs=2)
