"""Initial points: near the true surfaces, from train views only, the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import KDTree

from scenerep.captures import Capture
from scenerep.data_tools import open_capture
from scenerep.data_tools.hull import hull_points, inside_hull, random_points
from scenerep.data_tools.matching import nearby_pairs, triangulated
from scenerep.data_tools.synthetic import make_synthetic
from scenerep.data_tools.tracks import build_points
from scenerep.data_tools.triangulate import FILL, initial_points
from scenerep.errors import DataError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import look_at

UP = np.array([0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Capture:
    out = tmp_path_factory.mktemp("triangulate") / "scene"
    return make_synthetic(out, views=24, size=160, points=20_000, depth=True)


def test_matched_points_lie_on_the_surfaces(scene):
    xyz, rgb = triangulated(scene, scene.train)
    assert scene.points is not None
    distance, nearest = KDTree(scene.points.xyz).query(xyz)
    # 20000 true points on about 10 square units are 0.02 apart; a pixel is 0.02 wide there.
    assert len(xyz) > 800 and np.median(distance) < 0.02 and np.mean(distance > 0.06) < 0.15
    assert np.median(np.abs(rgb.astype(int) - scene.points.rgb[nearest])) < 25


def test_initial_points_fill_the_hull_of_cut_outs_and_repeat(scene):
    bare = scene.with_points(None).with_views([replace(view, depth=None) for view in scene.views])
    first, again = initial_points(bare, seed=1), initial_points(bare, seed=1)
    assert np.array_equal(first.xyz, again.xyz) and np.array_equal(first.rgb, again.rgb)
    assert len(first) > FILL
    assert inside_hull(bare, bare.train, first.xyz, misses=1).mean() > 0.99
    assert not np.array_equal(initial_points(bare, seed=2).xyz[-10:], first.xyz[-10:])
    assert len(initial_points(bare, seed=1, max_points=700)) == 700


def test_depth_is_unprojected(scene):
    points = initial_points(scene, max_points=6000)
    assert scene.points is not None and len(points) == 6000
    distance, _ = KDTree(scene.points.xyz).query(points.xyz)
    assert np.median(distance) < 0.02 and np.percentile(distance, 99) < 0.1


def test_held_out_pictures_are_not_opened(scene, monkeypatch):
    import scenerep.captures.capture as captures
    import scenerep.data_tools.matching as matching

    opened = set()
    load = captures.load_picture

    def spy(path, size=None):
        opened.add(path.name)
        return load(path, size)

    monkeypatch.setattr(captures, "load_picture", spy)
    monkeypatch.setattr(matching, "load_picture", spy)
    bare = scene.with_views([replace(view, depth=None) for view in scene.views])
    stages = set()
    initial_points(bare, progress=lambda stage, done, total: stages.add((stage, done <= total)))
    assert opened == {scene.views[i].image.name for i in scene.train}
    assert stages == {("features", True), ("matching", True)}
    with pytest.raises(DataError, match="no train views"):
        initial_points(scene.with_views([replace(view, split="test") for view in scene.views]))


def ring(count: int, size: int = 400) -> list[Camera]:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    eyes = [np.array([4 * np.cos(a), 4 * np.sin(a), 1.0]) for a in angles]
    return [Camera(500, 500, size / 2, size / 2, size, size, look_at(eye, np.zeros(3), UP)) for eye in eyes]


def test_tracks_survive_wrong_matches(rng):
    cameras = ring(12)
    truth = rng.uniform(-0.8, 0.8, (300, 3))
    pixels = [camera.project(truth)[:, :2] + rng.normal(0, 0.3, (300, 2)) for camera in cameras]
    pairs = nearby_pairs(cameras, neighbours=4)
    matches = []
    for _ in pairs:
        match = np.stack([np.arange(300), np.arange(300)], axis=1)
        wrong = rng.random(300) < 0.3
        match[wrong, 1] = rng.integers(0, 300, wrong.sum())
        matches.append(match)
    seen = build_points(cameras, pixels, pairs, matches)
    distance, nearest = KDTree(truth).query(seen.xyz)
    assert np.percentile(distance, 95) < 0.02
    assert len(np.unique(nearest[distance < 0.02])) > 280  # nearly every point is found
    assert len(seen.xyz) < 3 * 300  # and not once for each pair of views
    for place in range(len(cameras)):
        mine = seen.view == place
        back = cameras[place].project(seen.xyz[seen.point[mine]])[:, :2]
        assert np.linalg.norm(back - seen.pixel[mine], axis=1).max() < 2


def test_no_matches_no_points():
    cameras = ring(3)
    none = build_points(cameras, [np.zeros((5, 2))] * 3, [(0, 1)], [np.empty((0, 2), dtype=np.int64)])
    assert none.xyz.shape == (0, 3) and len(none.point) == 0


def test_pairs_are_near_and_look_the_same_way():
    cameras = ring(12)
    pairs = nearby_pairs(cameras, neighbours=2)
    assert all(i < j for i, j in pairs)
    assert {(i, (i + 1) % 12) if i < 11 else (0, 11) for i in range(12)} <= set(pairs)
    assert not any(abs(i - j) == 6 for i, j in pairs)


def test_hull_and_random_points(scene):
    rng = np.random.default_rng(0)
    hull = hull_points(scene, scene.train, 2000, rng)
    assert len(hull) == 2000 and inside_hull(scene, scene.train, hull).all()
    points = random_points(scene, scene.train, 2000, rng)
    seen = sum(
        (lambda p: (p[:, 2] > 0) & (p[:, :2] >= 0).all(axis=1) & (p[:, :2] < 160).all(axis=1))(
            scene.camera(i).project(points)
        )
        for i in scene.train
    )
    assert points.shape == (2000, 3) and (seen >= 2).mean() > 0.9


@pytest.mark.slow
def test_fox(shared_data):
    capture = open_capture(shared_data / "fox", max_side=480)
    points = initial_points(capture)
    assert len(points) >= 20_000
    # Held-out cameras see most of them: they lie where the pictures look.
    p = capture.camera(capture.test[3]).project(points.xyz.astype(np.float64))
    assert (p[:, 2] > 0).mean() > 0.9


@pytest.mark.slow
def test_castle_points_agree_with_colmap(shared_data):
    capture = open_capture(shared_data / "sceaux_castle", max_side=480)
    assert capture.points is not None
    points = initial_points(capture)
    distance, _ = KDTree(points.xyz).query(capture.points.xyz)
    assert len(points) > 5000 and np.median(distance) < 0.02 * capture.scene_scale
