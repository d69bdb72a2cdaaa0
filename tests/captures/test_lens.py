"""Rotations, poses, and lens distortion with its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scenerep.geometry.cameras import Camera, Distortion
from scenerep.geometry.distortion import distort, largest_radius, undistort, undistortion_map
from scenerep.geometry.poses import (
    focus_point,
    inverse,
    look_at,
    nearest_rotation,
    opencv_from_opengl,
    rotation_angle_deg,
    similarity,
)
from scenerep.geometry.quaternions import quaternion_from_rotation, rotation_from_axis_angle, rotation_from_quaternion

numbers = st.floats(-1, 1)


@given(st.tuples(numbers, numbers, numbers, numbers).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_quaternions_equal_scipy_and_come_back(q):
    q = np.array(q)
    expected = Rotation.from_quat(q, scalar_first=True).as_matrix()
    matrix = rotation_from_quaternion(q)
    assert np.allclose(matrix, expected, atol=1e-12)
    back = quaternion_from_rotation(matrix)
    assert back[0] >= 0 and np.isclose(np.linalg.norm(back), 1)
    assert np.allclose(rotation_from_quaternion(back), matrix, atol=1e-9)


def test_quaternions_are_batched_and_refuse_zero():
    quats = np.random.default_rng(0).normal(size=(3, 5, 4))
    assert rotation_from_quaternion(quats).shape == (3, 5, 3, 3)
    assert np.allclose(rotation_from_quaternion(quats)[1, 2], rotation_from_quaternion(quats[1, 2]))
    with pytest.raises(ValueError, match="length zero"):
        rotation_from_quaternion(np.zeros(4))


@pytest.mark.parametrize("vector", [[0, 0, 0], [1e-9, 0, 0], [0.3, -0.2, 0.9], [0, 3.14159, 0], [2, 3, -1]])
def test_axis_angle_equals_scipy(vector):
    assert np.allclose(rotation_from_axis_angle(vector), Rotation.from_rotvec(vector).as_matrix(), atol=1e-9)


def test_poses():
    rng = np.random.default_rng(1)
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = Rotation.random(random_state=2).as_matrix(), rng.normal(size=3)
    assert np.allclose(inverse(rigid) @ rigid, np.eye(4))
    assert np.allclose(opencv_from_opengl(opencv_from_opengl(rigid)), rigid)
    assert np.allclose(nearest_rotation(rigid[:3, :3] * 1.7 + 1e-9), rigid[:3, :3], atol=1e-8)
    for angle in (0.0, 1e-5, 30.0, 179.9):
        turned = rigid[:3, :3] @ Rotation.from_rotvec([0, np.radians(angle), 0]).as_matrix()
        assert rotation_angle_deg(rigid, turned) == pytest.approx(angle, abs=1e-7)


def test_look_at_sees_its_target_in_the_middle_and_up_above_it():
    eye, target, up = np.array([3.0, 1.0, 2.0]), np.array([0.2, 0.1, 0.3]), np.array([0.0, 0.0, 1.0])
    camera = Camera(100, 100, 50, 40, 100, 80, look_at(eye, target, up))
    u, v, z = camera.project(np.stack([target, target + 0.1 * up])).T
    assert np.allclose([u[0], v[0]], [50, 40]) and z[0] == pytest.approx(np.linalg.norm(target - eye))
    assert v[1] < v[0] and u[1] == pytest.approx(50)
    with pytest.raises(ValueError):
        look_at(eye, eye + up, up)


def test_focus_point_is_where_the_axes_meet():
    focus = np.array([0.4, -0.3, 1.0])
    eyes = np.random.default_rng(3).normal(size=(6, 3)) * 4 + 1
    cameras = [Camera(1, 1, 0, 0, 1, 1, look_at(eye, focus, np.array([0.0, 0, 1]))) for eye in eyes]
    assert np.allclose(focus_point(cameras), focus, atol=1e-6)


def test_similarity_is_found_exactly_and_without_reflection():
    rng = np.random.default_rng(4)
    source = rng.normal(size=(10, 3))
    rotation, translation = Rotation.random(random_state=5).as_matrix(), rng.normal(size=3)
    scale, r, t = similarity(source, 2.5 * source @ rotation.T + translation)
    assert scale == pytest.approx(2.5) and np.allclose(r, rotation) and np.allclose(t, translation)
    assert np.linalg.det(similarity(source, source * [1, 1, -1])[1]) == pytest.approx(1)
    with pytest.raises(ValueError):
        similarity(source[:2], source[:2])


LENSES = [
    Distortion("opencv", (0.06, -0.08, -0.001, 0.0002)),
    Distortion("opencv", (-0.2, 0.05, 0.001, -0.0005, 0.01)),
    Distortion("opencv", (0.1, 0.02, 0.001, 0.002, 0.01, 0.05, 0.01, 0.002)),
    Distortion("fisheye", (0.03, -0.01, 0.002, -0.0005)),
    Distortion("thin_prism", (0.03, -0.01, 0.001, -0.001, 0.002, 0.0, 0.001, 0.002)),
]


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: f"{lens.model}{len(lens.params)}")
def test_undistort_inverts_distort(lens):
    xy = np.random.default_rng(6).uniform(-0.8, 0.8, (500, 2))
    assert np.abs(undistort(distort(xy, lens), lens) - xy).max() < 1e-8


COLMAP_MODELS = {
    "SIMPLE_RADIAL": ([500.0, 320, 240, -0.1], Distortion("opencv", (-0.1, 0, 0, 0))),
    "OPENCV": ([500.0, 510, 320, 240, 0.06, -0.08, -0.001, 0.0002], LENSES[0]),
    "FULL_OPENCV": ([500.0, 510, 320, 240, 0.1, 0.02, 0.001, 0.002, 0.01, 0.05, 0.01, 0.002], LENSES[2]),
    "OPENCV_FISHEYE": ([500.0, 510, 320, 240, 0.03, -0.01, 0.002, -0.0005], LENSES[3]),
    "THIN_PRISM_FISHEYE": ([500.0, 510, 320, 240, 0.03, -0.01, 0.001, -0.001, 0.002, 0, 0.001, 0.002], LENSES[4]),
}


@pytest.mark.parametrize("model", COLMAP_MODELS)
def test_lenses_equal_colmap(model):
    pycolmap = pytest.importorskip("pycolmap")
    params, lens = COLMAP_MODELS[model]
    camera = pycolmap.Camera(model=model, width=640, height=480, params=params)
    xy = np.random.default_rng(7).uniform(-0.6, 0.6, (100, 2))
    expected = camera.img_from_cam(np.append(xy, np.ones((100, 1)), axis=1))
    fx, fy, cx, cy = (params[0], params[0], params[1], params[2]) if model == "SIMPLE_RADIAL" else params[:4]
    assert np.allclose(distort(xy, lens) * [fx, fy] + [cx, cy], expected, atol=1e-6)


def test_the_map_stops_where_the_polynomial_folds_back():
    lens = Distortion("opencv", (-0.5, 0.0, 0.0, 0.0))  # r - 0.5 r^3 grows up to r = sqrt(2/3)
    assert largest_radius(lens, 2.0) == pytest.approx(np.sqrt(2 / 3), abs=0.003)
    camera = Camera(50, 50, 50, 50, 100, 100, distortion=lens)
    source, valid = undistortion_map(camera)
    r = np.hypot(*(np.mgrid[0:100, 0:100] + 0.5 - 50)) / 50
    assert not valid[r > 0.83].any() and valid[r < 0.8].all()
    assert source.shape == (100, 100, 2) and source.dtype == np.float32
