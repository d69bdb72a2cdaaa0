"""Camera layout and camera paths: they look at the focus, are smooth, and stay where the cameras were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendered_capture import UP, ring

from scenerep.errors import ConfigError, FormatError
from scenerep.geometry import paths
from scenerep.geometry.cameras import Camera
from scenerep.geometry.layout import azimuth_range, azimuths, camera_layout, surrounding_cameras, up_vector
from scenerep.geometry.poses import look_at
from scenerep.io.camera_path import read_camera_path, write_camera_path

FOCUS = np.array([0.5, 0.0, 2.0])


def lens(pose: np.ndarray) -> Camera:
    return Camera(100.0, 100.0, 60.0, 40.0, 120, 80, pose)


def arc(degrees: float, n: int = 12) -> list[Camera]:
    """Cameras on one side of FOCUS, on an arc at distance 5, a little above and below its height."""
    out = []
    for i, angle in enumerate(np.radians(np.linspace(-degrees / 2, degrees / 2, n))):
        eye = FOCUS + np.array([5 * np.sin(angle), 0.3 * (-1) ** i, -5 * np.cos(angle)])
        out.append(lens(look_at(eye, FOCUS, UP)))
    return out


def wall(n: int = 15) -> list[Camera]:
    """A forward-facing grid: all cameras look exactly along z."""
    return [lens(look_at(np.array([x, y, 0.0]), np.array([x, y, 1.0]), UP)) for x in range(n // 3) for y in range(3)]


def room(n: int = 16) -> list[Camera]:
    """From near the middle outwards."""
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    levels = [np.array([np.sin(a), 0.0, np.cos(a)]) for a in angles]
    return [lens(look_at(FOCUS + 0.3 * level, FOCUS + level, UP)) for level in levels]


def centres(cameras: list[Camera]) -> np.ndarray:
    return np.stack([camera.centre for camera in cameras])


def forwards(cameras: list[Camera]) -> np.ndarray:
    return np.stack([camera.world_from_camera[:3, 2] for camera in cameras])


def assert_poses(cameras: list[Camera]) -> None:
    for camera in cameras:
        rotation = camera.world_from_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_layout_of_a_ring() -> None:
    layout = camera_layout(ring(12))
    np.testing.assert_allclose(layout.focus, FOCUS, atol=1e-6)
    np.testing.assert_allclose(layout.up, UP, atol=1e-6)
    assert layout.kind == "around"
    assert layout.distance == pytest.approx(np.hypot(4, 1))


def test_up_comes_from_level_sides_not_from_leaning_tops() -> None:
    # A quarter of a ring that looks down steeply: the mean up leans by tens of degrees, the corrected one does not.
    steep = ring(40, radius=3, height=4)[:10]
    mean = -np.mean([camera.world_from_camera[:3, 1] for camera in steep], axis=0)
    assert np.degrees(np.arccos(mean @ UP / np.linalg.norm(mean))) > 30
    assert np.degrees(np.arccos(up_vector(steep) @ UP)) < 6


def test_up_of_cameras_that_look_straight_down() -> None:
    down = [
        lens(look_at(np.array([x, -5.0, 0.0]), np.array([x, 0.0, 0.0]), np.array([np.sin(x), 0.0, np.cos(x)])))
        for x in np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ]
    assert up_vector(down) @ UP > 0.99


def test_parallel_axes_take_their_distance_from_the_points() -> None:
    points = np.random.default_rng(0).uniform([0, -1, 6], [4, 3, 8], (500, 3))
    layout = camera_layout(wall(), points)
    assert layout.kind == "partial"
    assert layout.focus[2] == pytest.approx(7, abs=0.3)
    assert np.isfinite(camera_layout(wall()).focus).all()
    assert camera_layout(wall()).focus[2] > 1


@pytest.mark.parametrize(("cameras", "kind"), [(room(), "outward"), (arc(60), "partial"), (arc(330), "around")])
def test_kinds_of_layout(cameras: list[Camera], kind: str) -> None:
    assert camera_layout(cameras).kind == kind


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20))
def test_azimuth_range_holds_all_angles(angles: list[float]) -> None:
    start, stop = azimuth_range(np.array(angles))
    assert 0 <= stop - start < 2 * np.pi + 1e-9
    inside = np.mod(np.array(angles) - start + 1e-9, 2 * np.pi)
    assert (inside <= stop - start + 1e-6).all()


def test_orbit_of_a_ring_is_the_ring() -> None:
    path = paths.orbit(ring(12), 40)
    assert_poses(path)
    offsets = centres(path) - FOCUS
    np.testing.assert_allclose(np.hypot(offsets[:, 0], offsets[:, 2]), 4, atol=1e-3)
    np.testing.assert_allclose(offsets[:, 1], -1, atol=1e-3)
    np.testing.assert_allclose(forwards(path), -offsets / np.linalg.norm(offsets, axis=1)[:, None], atol=1e-6)
    # Closed and even: every step turns by a 40th of the circle, the step from the last to the first as well.
    turn = np.angle(np.exp(1j * np.diff(azimuths(np.vstack([offsets, offsets[:1]]), UP))))
    np.testing.assert_allclose(turn, 2 * np.pi / 40, atol=1e-6)


@pytest.mark.parametrize("degrees", [4, 40, 120])
def test_orbit_of_an_arc_stays_in_front(degrees: float) -> None:
    cameras = arc(degrees)
    path = paths.orbit(cameras, 60, points=FOCUS + np.random.default_rng(0).normal(0, 0.3, (200, 3)))
    assert_poses(path)
    own, new = centres(cameras) - FOCUS, centres(path) - FOCUS
    low, high = azimuth_range(azimuths(own, UP))
    inside = np.mod(azimuths(new, UP) - low, 2 * np.pi)
    assert inside.max() <= high - low + 1e-6
    assert inside.max() - inside.min() > 0.7 * (high - low)
    distance = np.linalg.norm(new, axis=1)
    assert distance.min() > 4.8 and distance.max() < 5.4
    assert np.abs(new[:, 1]).max() < 1.0
    assert np.ptp(new[:, 1]) > 0.05


def test_orbit_in_a_room_looks_out() -> None:
    path = paths.orbit(room(), 24)
    offsets = centres(path) - FOCUS
    assert (np.linalg.norm(offsets, axis=1) < 0.3).all()
    assert (np.sum(offsets * forwards(path), axis=1) > 0).all()


@pytest.mark.parametrize(
    "cameras", [ring(12), arc(50), wall(), room(), arc(0, 1)], ids=["ring", "arc", "wall", "room", "one"]
)
@pytest.mark.parametrize("frames", [1, 2, 61])
def test_every_path_of_every_layout_is_sound(cameras: list[Camera], frames: int) -> None:
    extent = np.ptp(centres(cameras), axis=0).max() + camera_layout(cameras).distance
    for path in (paths.orbit(cameras, frames), paths.spiral(cameras, frames), paths.interpolate(cameras, frames)):
        assert len(path) == frames
        assert_poses(path)
        assert (path[0].width, path[0].height) == (cameras[0].width, cameras[0].height)
        steps = np.linalg.norm(np.diff(centres(path), axis=0), axis=1)
        if frames == 61:
            assert steps.max(initial=0) < extent / 2


def test_spiral_of_a_wall_is_as_wide_as_the_wall() -> None:
    points = np.random.default_rng(0).uniform([0, -1, 6], [4, 3, 8], (500, 3))
    new = centres(paths.spiral(wall(), 100, points))
    assert new[:, 0].min() > -0.1 and new[:, 0].max() < 4.1
    assert np.ptp(new[:, 0]) > 2
    assert np.abs(new[:, 2]).max() < 1e-6


def test_interpolation_passes_the_cameras() -> None:
    cameras = arc(60, 5)
    path = centres(paths.interpolate(cameras, 200))
    for camera in cameras:
        assert np.linalg.norm(path - camera.centre, axis=1).min() < 0.05
    np.testing.assert_allclose(path[0], cameras[0].centre, atol=1e-9)
    np.testing.assert_allclose(path[-1], cameras[-1].centre, atol=1e-9)


def test_interpolation_of_unordered_pictures_goes_from_neighbour_to_neighbour() -> None:
    cameras = arc(160, 30)
    shuffled = [cameras[0], *(cameras[i] for i in np.random.default_rng(1).permutation(np.arange(1, 30)))]
    length = np.linalg.norm(np.diff(centres(paths.interpolate(shuffled, 400)), axis=0), axis=1).sum()
    straight = np.linalg.norm(np.diff(centres(cameras), axis=0), axis=1).sum()
    assert length < 1.5 * straight


def test_surrounding_cameras_see_the_scene() -> None:
    points = np.random.default_rng(0).normal([3, 4, 5], 1, (2000, 3))
    points[:5] *= 1000  # strays
    for camera in surrounding_cameras(points):
        u, v, z = camera.project(points[5:]).T
        seen = (z > 0) & (u > 0) & (u < camera.width) & (v > 0) & (v < camera.height)
        assert seen.mean() > 0.9
    assert len(surrounding_cameras(np.zeros((0, 3)))) == len(surrounding_cameras(np.zeros((1, 3))))


def test_paths_need_cameras_and_frames() -> None:
    with pytest.raises(ConfigError, match="at least one camera"):
        paths.orbit([], 10)
    with pytest.raises(ConfigError, match="frames=0"):
        paths.interpolate(ring(3), 0)


def test_camera_path_file_round_trip(tmp_path: Path) -> None:
    cameras = ring(5)
    write_camera_path(cameras, tmp_path / "a.json", fps=25)
    got, fps = read_camera_path(tmp_path / "a.json")
    assert fps == 25
    for a, b in zip(cameras, got):
        np.testing.assert_allclose(a.world_from_camera, b.world_from_camera, atol=1e-9)
        assert (a.width, a.height, a.fy) == (b.width, b.height, pytest.approx(b.fy))


def test_camera_path_has_opengl_axes(tmp_path: Path) -> None:
    # Identity in OpenGL axes looks along -z with y up.
    path = tmp_path / "a.json"
    identity = np.eye(4).reshape(-1).tolist()
    path.write_text(json.dumps({
        "render_width": 100, "render_height": 50, "camera_path": [{"camera_to_world": identity, "fov": 90}],
    }))  # fmt: skip
    (camera,), fps = read_camera_path(path)
    assert fps is None
    assert camera.fy == pytest.approx(25)
    np.testing.assert_allclose(camera.world_from_camera[:3, 2], [0, 0, -1])
    np.testing.assert_allclose(camera.world_from_camera[:3, 1], [0, -1, 0])


@pytest.mark.parametrize(("change", "message"), [
    ({"camera_path": []}, "at least one camera"),
    ({"camera_path": [{}]}, r"camera_path\[0\]"),
    ({"camera_path": [{"camera_to_world": [0] * 16, "fov": 50}]}, "rotation"),
    ({"camera_path": [{"camera_to_world": list(np.eye(4).ravel()), "fov": 190}]}, "fov"),
    ({"camera_path": [{"camera_to_world": list(np.eye(4).ravel()), "fov": float("nan")}]}, "fov"),
    ({"render_width": 1e9}, "render_width"),
    ({"camera_type": "equirectangular"}, "perspective"),
    ({"fps": True}, "fps"),
])  # fmt: skip
def test_broken_camera_paths_are_named(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "a.json"
    write_camera_path(ring(2), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FormatError, match=message):
        read_camera_path(path)
    for text in ("", "[1]", "{", "\x00", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(FormatError):
            read_camera_path(path)
