"""The curvature against what errors really do to the pictures."""

from __future__ import annotations

import numpy as np
import pytest
from rendered_capture import ring, small_scene

from scenerep.compress.rdo.curvature import canonical_scene, coordinates, curvature, curvatures, removal_error
from scenerep.compress.views import Views
from scenerep.render import render
from scenerep.scenes import Gaussians


@pytest.fixture(scope="module")
def scene() -> Gaussians:
    return canonical_scene(small_scene(12, degree=1), True)


@pytest.fixture(scope="module")
def views(scene: Gaussians) -> Views:
    return Views.of_renders(scene, ring(6, size=(48, 32)), (0.1, 0.2, 0.3))


def error(scene: Gaussians, other: Gaussians, views: Views) -> float:
    """Mean squared difference of the two scenes' pictures."""
    r, g, b = views.background.tolist()
    squares = []
    for i in range(len(views)):
        camera = views.target(i).camera
        pair = (render(s, camera, background=(r, g, b)).rgb.astype(np.float64) for s in (scene, other))
        squares.append(float(np.mean((next(pair) - next(pair)) ** 2)))
    return float(np.mean(squares))


@pytest.fixture(scope="module")
def mean_curvature(scene: Gaussians, views: Views) -> dict[str, np.ndarray]:
    """Over so many draws of signs that 10 % are left of the noise."""
    draws = [curvature(scene, views, range(len(views)), seed) for seed in range(60)]
    return {name: np.mean([d[name] for d in draws], axis=0) for name in draws[0]}


def test_canonical_scene_is_the_same_picture(views: Views) -> None:
    plain = small_scene(12, degree=1)
    for canonical in (True, False):
        turned = canonical_scene(plain, canonical)
        assert error(plain, turned, views) < 1e-9
        assert (turned.quats[:, 0] >= 0).all()


def test_two_forms_at_once_are_as_one_after_the_other(views: Views) -> None:
    forms = [canonical_scene(small_scene(12, degree=1), canonical) for canonical in (True, False)]
    assert not np.allclose(forms[0].quats, forms[1].quats)
    together = curvatures(forms, views, range(len(views)), 3)
    for form, found in zip(forms, together):
        alone = curvature(form, views, range(len(views)), 3)
        for name, h in alone.items():
            np.testing.assert_allclose(found[name], h, rtol=0.02, atol=1e-4 * h.max(), err_msg=name)


def test_colour_errors_cost_what_is_predicted(
    scene: Gaussians, views: Views, mean_curvature: dict[str, np.ndarray]
) -> None:
    from dataclasses import replace

    for column in (0, 2):
        for row in (0, 5):
            sh = scene.sh.copy()
            sh[row, column] += np.array([0.03, 0.03, 0.03], np.float32)  # luma alone: Y rises by as much
            moved = replace(scene, sh=sh)
            name, scale = ("colours", 0.28209479) if column == 0 else ("sh", 1.0)
            h = mean_curvature[name][row, 0] if column == 0 else mean_curvature[name][row, column - 1, 0]
            assert h * (0.03 * scale) ** 2 == pytest.approx(error(scene, moved, views), rel=0.3)


def test_removal_costs_what_is_predicted(scene: Gaussians, views: Views, mean_curvature: dict[str, np.ndarray]) -> None:
    predicted = removal_error(coordinates(scene), mean_curvature)
    real = [error(scene, scene.select(np.arange(len(scene)) != row), views) for row in range(len(scene))]
    np.testing.assert_allclose(predicted, real, rtol=0.4, atol=0.02 * max(real))


def test_small_moves_cost_what_is_predicted(
    scene: Gaussians, views: Views, mean_curvature: dict[str, np.ndarray]
) -> None:
    from dataclasses import replace

    delta = 2e-3
    predicted, real = [], []
    for row in range(0, len(scene), 3):
        means = scene.means.copy()
        means[row, 1] += delta
        predicted.append(mean_curvature["positions"][row, 1] * delta**2)
        real.append(error(scene, replace(scene, means=means), views))
    np.testing.assert_allclose(predicted, real, rtol=0.4, atol=0.05 * max(real))
