"""Exposures and poses: small steps, the mean, and that they find what was changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from splat_cases import STILL, small, step_input

from scenerep.geometry.cameras import Camera
from scenerep.geometry.quaternions import rotation_from_axis_angle
from scenerep.render import render
from scenerep.scenes import Gaussians
from scenerep.splats.corrections import Exposures, Poses
from scenerep.splats.engine import NativeEngine
from scenerep.splats.model import Model
from scenerep.splats.targets import Target

CONFIG = small()


def test_rotation_is_rodrigues(rng):
    from scipy.spatial.transform import Rotation

    for w in [*rng.normal(size=(10, 3)), np.zeros(3), np.array([1e-9, 0, 0]), np.array([0, np.pi, 0])]:
        np.testing.assert_allclose(rotation_from_axis_angle(w), Rotation.from_rotvec(w).as_matrix(), atol=1e-12)


def test_exposures_start_as_the_identity():
    for view in range(3):
        np.testing.assert_array_equal(Exposures(3).matrix(view), np.eye(3, 4))


def test_the_mean_exposure_stays_the_identity(rng):
    exposures = Exposures(5)
    for i in range(40):
        exposures.update(int(rng.integers(5)), rng.normal(size=(3, 4)), i / 40)
    mean = np.mean([exposures.matrix(v) for v in range(5)], axis=0)
    np.testing.assert_allclose(mean, np.eye(3, 4), atol=1e-6)
    assert np.abs(exposures.matrix(0) - np.eye(3, 4)).max() > 1e-3


def test_steps_get_smaller(rng):
    def first_step(progress: float) -> float:
        exposures = Exposures(2)
        exposures.update(0, np.ones((3, 4)), progress)
        return float(np.abs(exposures.matrix(0) - np.eye(3, 4)).max())

    assert 0 < first_step(1.0) < first_step(0.5) < first_step(0.0) < 0.05


@pytest.mark.parametrize("part", ["exposures", "poses"])
def test_state_round_trip(part, rng):
    def make() -> Exposures | Poses:
        return Exposures(4) if part == "exposures" else Poses(4, 2.0)

    def train_on(what: Exposures | Poses, seed: int) -> None:
        r = np.random.default_rng(seed)
        for i in range(9):
            view, gradient = int(r.integers(4)), r.normal(size=(3, 4))
            if isinstance(what, Poses):
                what.update(view, gradient, Camera(1, 1, 1, 1, 2, 2), i / 9)
            else:
                what.update(view, gradient, i / 9)

    one, other = make(), make()
    train_on(one, 1)
    other.load({name: a.copy() for name, a in one.state().items()})
    train_on(one, 2)
    train_on(other, 2)
    assert one.state().keys() == other.state().keys()
    for name, array in one.state().items():
        np.testing.assert_array_equal(array, other.state()[name])


def test_poses_leave_unmoved_cameras_alone(rng):
    poses = Poses(3, 2.0)
    camera = Camera(50, 50, 10, 10, 20, 20, np.eye(4))
    assert poses.camera(1, camera) is camera
    poses.update(1, rng.normal(size=(3, 4)), camera, 0.0)
    moved = poses.camera(1, camera)
    assert poses.camera(0, camera) is camera
    rotation = moved.world_from_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert 0 < np.abs(moved.world_from_camera - np.eye(4)).max() < 0.01
    np.testing.assert_allclose(moved.camera_from_world @ moved.world_from_camera, np.eye(4), atol=1e-12)


def test_a_pose_step_goes_downhill(rng):
    """A linear loss <G, camera_from_world>: small steps must lower it, whichever pose they start from."""
    from scipy.spatial.transform import Rotation

    for seed in range(5):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
        pose[:3, 3] = rng.normal(size=3)
        camera = Camera(50, 50, 10, 10, 20, 20, pose)
        gradient = rng.normal(size=(3, 4))
        poses = Poses(1, 0.5)
        before = (gradient * camera.camera_from_world[:3]).sum()
        poses.update(0, gradient, camera, 0.0)
        assert (gradient * poses.camera(0, camera).camera_from_world[:3]).sum() < before


GREY = np.full(3, 0.4, np.float32)


def _target(scene: Gaussians, camera: Camera, gain: float | np.ndarray = 1.0, offset: float = 0.0) -> Target:
    drawn = render(scene, camera, background=(0.4, 0.4, 0.4)).rgb
    return Target(camera, (drawn * gain + offset).astype(np.float32), None, None)


def test_a_moved_camera_comes_back(known_scene, tiny, rng):
    """The scene is known and stays; one camera was turned by half a degree and moved by 0.5 % of the scene."""
    scale = tiny.scene_scale
    true = tiny.camera(2).resized(96, 64)
    push = np.eye(4)
    push[:3, :3] = rotation_from_axis_angle(np.radians([0.3, -0.35, 0.2]))
    push[:3, 3] = np.array([0.004, -0.002, 0.003]) * scale
    start = replace(true, world_from_camera=np.linalg.inv(push @ true.camera_from_world))
    engine = NativeEngine(Model(known_scene, len(known_scene)), CONFIG, 0)
    poses = Poses(1, scale)
    given = step_input(rng, CONFIG, target=_target(known_scene, true), rates=STILL, want_pose=True)
    given = replace(given, background=GREY, opacity_weight=0.0, scale_weight=0.0)
    losses = []
    steps = 200
    for step in range(1, steps + 1):
        camera = poses.camera(0, start)
        out = engine.step(replace(given, step=step, camera=camera))
        assert out.pose is not None
        poses.update(0, out.pose, camera, step / steps)
        losses.append(out.loss)
    assert losses[-1] < 0.2 * losses[0]

    def error_px(camera: Camera) -> float:
        difference = camera.project(known_scene.means) - true.project(known_scene.means)
        return float(np.sqrt((difference[:, :2] ** 2).sum(axis=1).mean()))

    assert error_px(poses.camera(0, start)) < 0.15 * error_px(start)


def test_known_gains_are_found(known_scene, tiny, rng):
    """Two pictures of a known scene, one brighter and redder, the other darker, so that the mean stays."""
    gains = [np.array([1.08, 1.03, 1.0]), np.array([0.92, 0.97, 1.0])]
    offsets = [-0.02, 0.02]
    cameras = [tiny.camera(v) for v in (1, 6)]
    targets = [_target(known_scene, c, g, o) for c, g, o in zip(cameras, gains, offsets)]
    engine = NativeEngine(Model(known_scene, len(known_scene)), CONFIG, 0)
    exposures = Exposures(2)
    given = step_input(rng, CONFIG, rates=STILL, opacity_weight=0.0, scale_weight=0.0, background=GREY)
    steps = 400
    for step in range(1, steps + 1):
        view = step % 2
        now = replace(given, step=step, target=targets[view], camera=cameras[view], exposure=exposures.matrix(view))
        out = engine.step(now)
        assert out.exposure is not None
        exposures.update(view, out.exposure, step / steps)
    for view in (0, 1):
        plain = _target(known_scene, cameras[view]).rgb
        m = exposures.matrix(view)
        left = np.abs(plain @ m[:, :3].T + m[:, 3] - targets[view].rgb).mean()
        assert left < 0.15 * np.abs(plain - targets[view].rgb).mean()
        # The scene's colours hardly tell the nine entries apart; what they do to grey is certain.
        grey = 0.4 * m[:, :3].sum(axis=1) + m[:, 3]
        np.testing.assert_allclose(grey, 0.4 * gains[view] + offsets[view], atol=0.005)
