"""Quantisation errors stay within the steps; canonical forms are the same Gaussians."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rendered_capture import small_scene

from scenerep.coding import Quantiser, canonical_form, dequantise, focus_of, grid_for, quantise
from scenerep.coding.quantiser import contract, expand
from scenerep.errors import ConfigError, SceneRepError
from scenerep.geometry.quaternions import rotation_from_quaternion
from scenerep.io import read_scene, srz, write_scene


def _covariances(quats: np.ndarray, log_scales: np.ndarray) -> np.ndarray:
    r = rotation_from_quaternion(quats)
    return np.einsum("nij,nj,nkj->nik", r, np.exp(2.0 * log_scales), r)


def test_canonical_forms_are_the_same_gaussians(rng: np.random.Generator) -> None:
    quats, log_scales = rng.normal(size=(500, 4)), rng.normal(size=(500, 3))
    q, s = canonical_form(quats, log_scales)
    np.testing.assert_allclose(_covariances(q, s), _covariances(quats, log_scales), rtol=1e-9, atol=1e-9)
    assert np.all(np.diff(s, axis=1) <= 0)
    assert np.all(q[:, 0] >= 0.5 - 1e-12)


@pytest.mark.parametrize("canonical", [False, True])
def test_errors_stay_within_the_steps(canonical: bool) -> None:
    scene = small_scene(degree=2)
    origin, depth = grid_for(scene.means, 1e-3)
    fine = Quantiser(origin, 1e-3, depth, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, (1e-3, 1e-3), (1e-3, 1e-3), canonical)
    got = dequantise(quantise(scene, fine))
    np.testing.assert_allclose(got.means, scene.means, atol=5.1e-4)
    np.testing.assert_allclose(got.sh, scene.sh, atol=1e-3 / 0.28)
    np.testing.assert_allclose(
        _covariances(got.quats, got.log_scales), _covariances(scene.quats, scene.log_scales), rtol=0.02, atol=1e-4
    )


def test_contraction_and_back(rng: np.random.Generator) -> None:
    far = rng.normal(size=(300, 3)) * 10.0 ** rng.uniform(-2, 6, (300, 1)) + 1e4
    grid = contract(far, (1e4, 1e4, 1e4), 1.5)
    assert np.abs(grid).max() < 30
    np.testing.assert_allclose(expand(grid, (1e4, 1e4, 1e4), 1.5), far, rtol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 10_000.0])
def test_scene_files(tmp_path, shift: float) -> None:
    scene = small_scene(degree=1)
    scene = replace(scene, means=scene.means + np.float32(shift))
    write_scene(scene, tmp_path / "x.srz")
    got = read_scene(tmp_path / "x.srz")
    assert len(got) == len(scene)
    radius = focus_of(scene.means)[1]
    np.testing.assert_allclose(np.sort(got.means[:, 0]), np.sort(scene.means[:, 0]), atol=radius / 4000 + shift * 1e-7)


def test_huge_and_bad_values() -> None:
    scene = small_scene(degree=0)
    huge = replace(scene, log_scales=np.full_like(scene.log_scales, 80.0))
    np.testing.assert_allclose(srz.read(srz.write(huge)).log_scales, 80.0, atol=0.011)
    with pytest.raises(SceneRepError, match="not finite"):
        srz.write(replace(scene, log_scales=np.full_like(scene.log_scales, np.nan)))
    with pytest.raises(ConfigError, match="step"):
        Quantiser((0, 0, 0), 0.0, 4)
    with pytest.raises(ConfigError, match="octree"):
        Quantiser((0, 0, 0), 1.0, 40)
