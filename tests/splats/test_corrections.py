"""Exposures and poses: small steps, the mean, and that they find what was changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from splat_cases import STILL, small, step_input

from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import look_at
from scenerep.geometry.quaternions import rotation_from_axis_angle
from scenerep.render import render
from scenerep.scenes import Gaussians
from scenerep.splats.corrections import Exposures, Poses
from scenerep.splats.engine import NativeEngine
from scenerep.splats.model import Model
from scenerep.splats.targets import Target

CONFIG = small()


def ring(count: int) -> list[Camera]:
    """Cameras on a circle, that look at its centre."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    eyes = np.stack([4 * np.cos(angles), np.full(count, -1.0), 4 * np.sin(angles)], axis=1)
    return [Camera(50, 50, 10, 10, 20, 20, look_at(eye, np.zeros(3), np.array([0.0, -1, 0]))) for eye in eyes]


def test_rotation_is_rodrigues(rng):
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
        return Exposures(4) if part == "exposures" else Poses(ring(4), range(4), 2.0)

    def train_on(what: Exposures | Poses, seed: int) -> None:
        r = np.random.default_rng(seed)
        for i in range(9):
            view, gradient = int(r.integers(4)), r.normal(size=(3, 4))
            if isinstance(what, Poses):
                what.update(view, gradient, ring(4)[view], 0.2 + i / 20)
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


def test_poses_start_as_captured_and_stay_rigid(rng):
    cameras = ring(5)
    poses = Poses(cameras, range(5), 2.0)
    assert poses.camera(1, cameras[1]) is cameras[1]
    poses.update(1, rng.normal(size=(3, 4)), cameras[1], 0.0)
    assert poses.camera(1, cameras[1]) is cameras[1]  # too early: the picture is still blurred
    poses.update(1, rng.normal(size=(3, 4)), cameras[1], 0.5)
    moved = poses.camera(1, cameras[1])
    rotation = moved.world_from_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert 0 < np.abs(moved.world_from_camera - cameras[1].world_from_camera).max() < 0.01


def test_a_pose_step_goes_downhill(rng):
    """A linear loss <G, camera_from_world>: small steps must lower it, whichever camera they start from."""
    cameras = ring(20)
    for view in range(5):
        gradient = rng.normal(size=(3, 4))
        poses = Poses(cameras, range(20), 0.5)
        before = (gradient * cameras[view].camera_from_world[:3]).sum()
        poses.update(view, gradient, cameras[view], 0.2)
        assert (gradient * poses.camera(view, cameras[view]).camera_from_world[:3]).sum() < before


def test_what_all_cameras_share_is_no_correction(rng):
    """Motions that turn, shift and grow the whole ring leave it where it was, to second order."""
    cameras = ring(12)
    poses = Poses(cameras, range(12), 2.0)
    angle, growth, shift = np.array([2e-3, -1e-3, 3e-3]), 1.004, np.array([0.01, -0.02, 0.005])
    turn = rotation_from_axis_angle(angle)
    state = poses.state()
    for v, camera in enumerate(cameras):
        moved = np.eye(4)
        moved[:3, :3] = turn @ camera.world_from_camera[:3, :3]
        moved[:3, 3] = growth * turn @ camera.centre + shift
        motion = np.linalg.inv(moved) @ camera.world_from_camera  # in camera axes, after the captured pose
        state["pose.values"][v] = [*Rotation.from_matrix(motion[:3, :3]).as_rotvec(), *motion[:3, 3] / 2.0]
    poses.load(state)
    for v, camera in enumerate(cameras):
        np.testing.assert_allclose(poses.camera(v, camera).world_from_camera, camera.world_from_camera, atol=1e-4)


GREY = np.full(3, 0.4, np.float32)


def _target(scene: Gaussians, camera: Camera, gain: float | np.ndarray = 1.0, offset: float = 0.0) -> Target:
    drawn = render(scene, camera, background=(0.4, 0.4, 0.4)).rgb
    return Target(camera, (drawn * gain + offset).astype(np.float32), None, None)


def test_a_moved_camera_comes_back(known_scene, tiny, rng):
    """The scene is known and stays; one camera was turned by a tenth of a degree and moved by 0.1 % of the scene."""
    scale = tiny.scene_scale
    true = tiny.camera(2).resized(96, 64)
    push = np.eye(4)
    push[:3, :3] = rotation_from_axis_angle(np.radians([0.06, -0.07, 0.04]))
    push[:3, 3] = np.array([8e-4, -4e-4, 6e-4]) * scale
    start = replace(true, world_from_camera=np.linalg.inv(push @ true.camera_from_world))
    engine = NativeEngine(Model(known_scene, len(known_scene)), CONFIG, 0)
    others = [tiny.camera(v) for v in range(len(tiny)) if v != 2]
    poses = Poses([start, *others], range(len(tiny)), scale)
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
    assert losses[-1] < 0.3 * losses[0]

    def error_px(camera: Camera) -> float:
        difference = camera.project(known_scene.means) - true.project(known_scene.means)
        return float(np.sqrt((difference[:, :2] ** 2).sum(axis=1).mean()))

    # The others, which nobody moves, hold it back by its share of what all have in common.
    assert error_px(poses.camera(0, start)) < 0.3 * error_px(start)


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
