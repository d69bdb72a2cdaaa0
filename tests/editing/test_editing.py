"""Scene editing: pictures of an edited scene are what the edit promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendered_capture import ring, small_scene

from scenerep import editing
from scenerep.errors import ConfigError
from scenerep.geometry.poses import pose
from scenerep.geometry.quaternions import rotation_from_axis_angle
from scenerep.geometry.sh import evaluate
from scenerep.geometry.sh_rotation import rotate_sh, sh_rotation
from scenerep.render import render, significance

angles = st.tuples(*[st.floats(-3, 3)] * 3).map(lambda v: rotation_from_axis_angle(np.array(v)))


@given(angles, angles)
def test_sh_rotation_is_a_homomorphism(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(sh_rotation(a, 3) @ sh_rotation(b, 3), sh_rotation(a @ b, 3), atol=1e-9)
    np.testing.assert_allclose(sh_rotation(a, 3) @ sh_rotation(a, 3).T, np.eye(16), atol=1e-9)


@given(angles)
def test_turned_colours_follow_the_scene(rotation: np.ndarray) -> None:
    r = np.random.default_rng(0)
    sh, d = r.normal(size=(8, 16, 3)), r.normal(size=(8, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    np.testing.assert_allclose(evaluate(rotate_sh(sh, rotation), d @ rotation.T), evaluate(sh, d), atol=1e-4)


def test_a_moved_scene_looks_the_same_from_moved_cameras() -> None:
    scene = small_scene(degree=3)
    rotation, shift, scale = rotation_from_axis_angle(np.array([0.4, -1.1, 2.0])), np.array([3.0, -2.0, 1.0]), 2.5
    moved = editing.transform(scene, scale=scale, rotation=rotation, translation=shift)
    for camera in ring(3):
        place = pose(rotation @ camera.world_from_camera[:3, :3], scale * rotation @ camera.centre + shift)
        want = render(scene, camera).rgb
        np.testing.assert_allclose(render(moved, replace(camera, world_from_camera=place)).rgb, want, atol=2e-3)
    back = editing.transform(moved, translation=-shift)
    back = editing.transform(back, scale=1 / scale, rotation=rotation.T)
    np.testing.assert_allclose(back.means, scene.means, atol=1e-5)
    np.testing.assert_allclose(back.sh, scene.sh, atol=1e-5)


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 1, 0), (0, -1, 0), (1, 2, 3)])
def test_orient_brings_up_to_its_place(up: tuple[float, ...]) -> None:
    scene = small_scene()
    turned = editing.orient(replace(scene, means=np.tile(np.float32(up), (len(scene), 1))), np.array(up))
    np.testing.assert_allclose(turned.means, np.tile([0, -np.linalg.norm(up), 0], (len(scene), 1)), atol=1e-5)


def test_recentre() -> None:
    np.testing.assert_allclose(editing.centre(editing.recentre(small_scene())), 0, atol=1e-6)


def test_crops_keep_what_is_inside() -> None:
    scene = small_scene()
    boxed = editing.crop_box(scene, (0, -1, 1), (1, 1, 3))
    inside = (scene.means[:, 0] >= 0) & (scene.means[:, 0] <= 1) & (scene.means[:, 2] >= 1)
    assert 0 < len(boxed) == inside.sum() < len(scene)
    ball = editing.crop_sphere(scene, (0.5, 0, 2), 0.7)
    assert 0 < len(ball) == (np.linalg.norm(scene.means - [0.5, 0, 2], axis=1) <= 0.7).sum() < len(scene)
    with pytest.raises(ConfigError, match="inside out"):
        editing.crop_box(scene, (1, 0, 0), (0, 1, 1))
    with pytest.raises(ConfigError, match="radius"):
        editing.crop_sphere(scene, (0, 0, 0), 0)


def test_floaters_go_and_the_object_stays() -> None:
    scene = small_scene(400)
    scene = replace(scene, opacity_logits=np.full(400, 2.0))
    strays = replace(small_scene(3), means=np.array([[20.0, 0, 2], [0, -20, 2], [0, 0, 40]]))
    faint = replace(small_scene(5), opacity_logits=np.full(5, -6.0))
    huge = replace(small_scene(1), log_scales=np.full((1, 3), 3.0))
    left = editing.remove_floaters(editing.merge([scene, strays, faint, huge]))
    kept = {tuple(row) for row in left.means.tolist()}
    assert not kept & {tuple(row) for row in np.concatenate([strays.means, faint.means]).tolist()}
    assert len(left) > 390
    assert left.log_scales.max() < 3


def test_merge_and_cut_degree() -> None:
    a, b = small_scene(5, degree=1), small_scene(7, degree=3)
    both = editing.merge([a, b])
    assert (len(both), both.sh_degree) == (12, 3)
    np.testing.assert_array_equal(both.sh[:5, :4], a.sh)
    assert not both.sh[:5, 4:].any()
    assert editing.cut_degree(both, 1).sh_degree == 1
    assert editing.cut_degree(a, 3).sh_degree == 1
    with pytest.raises(ConfigError, match="antialiased"):
        editing.merge([a, replace(b, antialiased=True)])


def test_decimation_keeps_what_covers_most() -> None:
    scene = small_scene(80)
    cameras = ring(4)
    weights = significance(scene, cameras)
    half = editing.decimate(scene, 40, weights)
    worse = editing.decimate(scene, 40, -weights)
    want = render(scene, cameras[0]).rgb
    assert (
        np.abs(render(half, cameras[0]).rgb - want).mean() < 0.5 * np.abs(render(worse, cameras[0]).rgb - want).mean()
    )
    with pytest.raises(ConfigError):
        editing.decimate(scene, 40, weights[:3])
