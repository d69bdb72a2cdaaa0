"""Spherical harmonics: against scipy's, orthonormal, numpy and torch alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from scenerep.errors import SceneRepError
from scenerep.geometry import sh


def _directions(count: int, rng: np.random.Generator) -> np.ndarray:
    d = rng.normal(size=(count, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


def _scipy_basis(d: np.ndarray, degree: int) -> np.ndarray:
    """Real harmonics from scipy's complex ones, whose Condon-Shortley phase is the sign convention of splatting."""
    theta, phi = np.arccos(d[:, 2]), np.arctan2(d[:, 1], d[:, 0])
    out = []
    for l in range(degree + 1):  # noqa: E741
        for m in range(-l, l + 1):
            value = sph_harm_y(l, abs(m), theta, phi)
            out.append(value.real if m == 0 else np.sqrt(2) * (value.imag if m < 0 else value.real))
    return np.stack(out, axis=1)


@pytest.mark.parametrize("degree", range(4))
def test_basis_is_scipys(degree: int, rng: np.random.Generator):
    d = _directions(50, rng)
    np.testing.assert_allclose(sh.basis(d, degree), _scipy_basis(d, degree), atol=1e-12)
    np.testing.assert_allclose(sh.basis(torch.from_numpy(d), degree).numpy(), sh.basis(d, degree), atol=1e-15)


def test_evaluate_uses_the_first_coefficients_only(rng: np.random.Generator):
    d, coefficients = _directions(5, rng), rng.normal(size=(5, 16, 3))
    low = sh.evaluate(coefficients, d, 1)
    np.testing.assert_allclose(low, np.einsum("nk,nkc->nc", sh.basis(d, 1), coefficients[:, :4]))
    np.testing.assert_allclose(sh.evaluate(coefficients[:, :4], d), low)


def test_colour_round_trip(rng: np.random.Generator):
    rgb = rng.random((4, 3))
    dc = sh.dc_from_rgb(rgb)
    np.testing.assert_allclose(sh.rgb_from_dc(dc), rgb)
    np.testing.assert_allclose(0.5 + sh.evaluate(dc[:, None], _directions(4, rng)), rgb)


def test_degrees_and_counts():
    assert [sh.coefficient_count(d) for d in range(4)] == [1, 4, 9, 16]
    assert [sh.degree_of(k) for k in (1, 4, 9, 16)] == [0, 1, 2, 3]
    for count in (-1, 0, 2, 15, 25):
        with pytest.raises(SceneRepError, match=str(count)):
            sh.degree_of(count)
    with pytest.raises(SceneRepError, match="degree 4"):
        sh.coefficient_count(4)
    with pytest.raises(SceneRepError, match="needs 9"):
        sh.evaluate(np.zeros((1, 4, 3)), np.zeros((1, 3)), 2)
