from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerep.errors import SceneRepError
from scenerep.scenes import Voxels
from scenerep.voxels.space import Space, activated, opacities, vertex_positions

BOX = np.array([[-1.0, 0.0, 2.0], [1.0, 3.0, 4.0]])


@given(st.booleans(), st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_there_and_back(contracted: bool, point: list[float]) -> None:
    space = Space((9, 13, 7), BOX, contracted)
    p = np.array([point])
    np.testing.assert_allclose(space.to_world(space.to_grid(p)), p, rtol=1e-6, atol=1e-6)


def test_the_box_and_all_of_space_fit_the_grid() -> None:
    plain, contracted = Space((9, 9, 9), BOX), Space((9, 9, 9), BOX, True)
    np.testing.assert_allclose(plain.to_grid(BOX), [[0, 0, 0], [8, 8, 8]])
    np.testing.assert_allclose(contracted.to_grid(BOX), [[2, 2, 2], [6, 6, 6]])
    far = contracted.to_grid(np.array([[1e9, 1.5, 3.0], [0.0, -1e9, 3.0]]))
    np.testing.assert_allclose(far, [[8, 4, 4], [4, 0, 4]], atol=1e-5)


def test_voxels_grow_with_the_square_of_the_distance() -> None:
    space = Space((101, 101, 101), np.array([[-1.0] * 3, [1.0] * 3]), True)
    at = np.array([[0.0, 0, 0], [1, 0, 0], [4, 0, 0]])
    np.testing.assert_allclose(space.voxel_at(at), space.voxel * np.array([1, 1, 16]))
    ahead = space.to_grid(at + np.array([1e-4, 0, 0])) - space.to_grid(at)
    np.testing.assert_allclose(1e-4 / ahead[:, 0], space.voxel_at(at), rtol=1e-3)


def test_vertices_lie_where_their_index_says() -> None:
    index = np.array([0, 1, 9, 9 * 13])
    scene = Voxels((9, 13, 7), index, np.zeros((4, 4)), BOX)
    steps = (BOX[1] - BOX[0]) / [8, 12, 6]
    expected = BOX[0] + steps * [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(vertex_positions(scene), expected)


def test_density_is_smooth_and_opacity_does_not_depend_on_the_resolution() -> None:
    x = np.linspace(-10, 20, 4001)
    y = activated(x)
    assert (np.diff(y) > 0).all()
    assert np.abs(np.diff(np.diff(y))).max() < 1e-4
    # A slab of one density hides as much in voxels of half the size, two of them.
    coarse = Voxels((5, 5, 5), np.array([0]), np.array([[4.5, 0, 0, 0]]), np.array([[0.0] * 3, [1.0] * 3]))
    fine = Voxels((9, 9, 9), np.array([0]), np.array([[4.5, 0, 0, 0]]), np.array([[0.0] * 3, [1.0] * 3]))
    assert 1 - opacities(coarse)[0] == pytest.approx((1 - opacities(fine)[0]) ** 2, rel=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"index": np.array([1, 0])},
        {"index": np.array([0, 27])},
        {"index": np.array([-1, 3])},
        {"values": np.zeros((2, 5))},
        {"box": np.zeros((2, 3))},
        {"size": (1, 3, 3)},
    ],
)
def test_scenes_that_cannot_be(arguments: dict) -> None:
    sound = {"size": (3, 3, 3), "index": np.array([0, 5]), "values": np.zeros((2, 4)), "box": BOX}
    Voxels(**sound)
    with pytest.raises(SceneRepError):
        Voxels(**(sound | arguments))
