"""Capture: undistortion and resizing of pictures and cameras together, masks, depth, the cache, the split."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scenerep.captures import Capture, Points, View, split_every
from scenerep.captures.cache import ByteCache
from scenerep.captures.resample import area_average, fit, remap
from scenerep.errors import DataError
from scenerep.geometry.cameras import Camera, Distortion
from scenerep.geometry.distortion import project_distorted

LENS = Distortion("opencv", (0.12, -0.05, 0.002, -0.001))
CAMERA = Camera(300.0, 310.0, 162.0, 118.0, 320, 240, distortion=LENS)


def spots(camera: Camera, points: np.ndarray) -> np.ndarray:
    """A picture as the distorted camera takes it: a bright Gaussian spot at each projected point."""
    y, x = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    picture = np.zeros((camera.height, camera.width))
    for u, v, _ in project_distorted(camera, points):
        picture += np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 3.0**2))
    return np.repeat((np.clip(picture, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def centroid(picture: np.ndarray, near: np.ndarray, radius: int) -> np.ndarray:
    u, v = near.astype(int)
    part = picture[v - radius : v + radius + 1, u - radius : u + radius + 1, 0].astype(float)
    y, x = np.mgrid[v - radius : v + radius + 1, u - radius : u + radius + 1] + 0.5
    return np.array([(part * x).sum(), (part * y).sum()]) / part.sum()


@pytest.mark.parametrize("max_side", [None, 320, 200, 160, 100])
def test_pinhole_cameras_see_points_where_the_undistorted_picture_shows_them(tmp_path, max_side):
    points = np.array([[0, 0, 2], [-0.7, 0.5, 2], [0.75, 0.4, 2], [0.6, -0.5, 2], [-0.75, -0.55, 2]], dtype=float)
    Image.fromarray(spots(CAMERA, points)).save(tmp_path / "a.png")
    capture = Capture(tmp_path, "test", [View("a.png", CAMERA, tmp_path / "a.png")], max_side=max_side)
    camera, picture = capture.camera(0), capture.image(0)
    assert camera.distortion is None and picture.shape == (camera.height, camera.width, 3)
    scale = camera.width / 320
    for u, v, _ in camera.project(points):
        assert np.linalg.norm(centroid(picture, np.array([u, v]), int(12 * scale)) - [u, v]) < 0.15


def test_undistortion_borders_are_masked(tmp_path):
    # A barrel lens: the corners of the straight picture lie inside the stored one; a pincushion lens: outside.
    for k1, whole in ((-0.2, True), (0.3, False)):
        camera = replace(CAMERA, distortion=Distortion("opencv", (k1, 0.0, 0.0, 0.0)))
        Image.fromarray(np.full((240, 320, 3), 200, np.uint8)).save(tmp_path / "a.png")
        capture = Capture(tmp_path, "test", [View("a.png", camera, tmp_path / "a.png")])
        mask = capture.mask(0)
        assert mask is not None and mask.shape == (240, 320)
        assert bool(mask.all()) == whole and mask[120, 160]
        assert (capture.image(0)[mask] == 200).all()
    assert not mask[0, 0] and not mask[-1, -1]


def test_masks_are_undistorted_and_shrink_to_pixels_that_count_wholly(tmp_path):
    use = np.zeros((240, 320), dtype=np.uint8)
    use[60:180, 81:240] = 255
    Image.fromarray(use).save(tmp_path / "m.png")
    Image.fromarray(np.zeros((240, 320, 3), np.uint8)).save(tmp_path / "a.png")
    view = View("a.png", replace(CAMERA, distortion=None), tmp_path / "a.png", mask=tmp_path / "m.png")
    capture = Capture(tmp_path, "test", [view])
    assert np.array_equal(capture.mask(0), use > 0)
    half = capture.resized(160).mask(0)
    assert half is not None and half.sum() == 60 * 79  # column 40 is half used: not counted
    bare = Capture(tmp_path, "test", [replace(view, mask=None)])
    assert bare.mask(0) is None


def test_depth_is_sampled_not_blended(tmp_path):
    depth = np.where(np.arange(320) < 160, 1000, 3000).astype(np.uint16) * np.ones((240, 1), np.uint16)
    Image.fromarray(depth).save(tmp_path / "d.png")
    Image.fromarray(np.zeros((240, 320, 3), np.uint8)).save(tmp_path / "a.png")
    view = View("a.png", CAMERA, tmp_path / "a.png", depth=tmp_path / "d.png", depth_scale=0.001)
    capture = Capture(tmp_path, "test", [view], max_side=100)
    found = capture.depth(0)
    assert found is not None and found.shape == (75, 100)
    assert np.isin(np.round(found, 4), np.float32([0, 1, 3])).all()
    assert found[37, 20] == pytest.approx(1) and found[37, 80] == pytest.approx(3)


def test_resized_never_enlarges(tmp_path):
    Image.fromarray(np.zeros((240, 320, 3), np.uint8)).save(tmp_path / "a.png")
    capture = Capture(tmp_path, "test", [View("a.png", replace(CAMERA, distortion=None), tmp_path / "a.png")])
    assert capture.resized(4000).image(0).shape == (240, 320, 3)
    small = capture.resized(101)
    assert small.image(0).shape == (76, 101, 3)
    assert (small.camera(0).width, small.camera(0).height) == (101, 76)
    assert small.resized(None).image(0).shape == (240, 320, 3)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_area_average_equals_the_integral(w, h, width, height):
    width, height = min(w, width), min(h, height)
    values = np.random.default_rng(w * 41 + h).random((h, w)).astype(np.float32)
    found = area_average(values, width, height)
    # Integrate the pixels over each target rectangle, by repeating pixels on a common grid
    fine = np.kron(values.astype(np.float64), np.ones((height, width)))
    expected = fine.reshape(height, h, width, w).mean(axis=(1, 3))
    assert np.allclose(found, expected, atol=1e-5)


def test_transparent_colours_do_not_bleed():
    picture = np.zeros((4, 4, 4), dtype=np.uint8)
    picture[:, :2] = [200, 100, 50, 255]
    picture[:, 2:] = [0, 255, 0, 0]  # green, and invisible
    small = area_average(picture, 1, 1)
    assert np.abs(small[0, 0].astype(int) - [200, 100, 50, 128]).max() <= 1
    y, x = np.mgrid[0:4, 0:4].astype(np.float32)
    shifted = remap(picture, np.stack([x + 1.0, y + 0.5], axis=-1))
    assert np.abs(shifted[1, 1].astype(int) - [200, 100, 50, 128]).max() <= 1


def test_remap_at_pixel_centres_is_the_identity():
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    y, x = np.mgrid[0:7, 0:5].astype(np.float32) + 0.5
    assert np.array_equal(remap(picture, np.stack([x, y], axis=-1)), picture)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 6000))
def test_fit(width, height, side):
    w, h = fit(width, height, side)
    assert max(w, h) == min(max(width, height), side) and min(w, h) >= 1
    assert abs(w * height - h * width) <= max(width, height)


def test_split():
    names = [f"{i:03d}.jpg" for i in range(20)]
    assert [n for n, s in zip(names, split_every(names, 8)) if s == "test"] == ["000.jpg", "008.jpg", "016.jpg"]
    assert split_every(names[::-1], 8) == split_every(names, 8)[::-1]  # by sorted name, whatever the order
    assert set(split_every(names, 0)) == {"train"}
    with pytest.raises(DataError, match="test_every=1"):
        split_every(names, 1)


def test_cache_keeps_to_its_budget_and_forgets_the_oldest():
    cache, loads = ByteCache(250), []

    def get(key: str, size: int = 100) -> np.ndarray:
        return cache.get(key, lambda: loads.append(key) or np.zeros(size, np.uint8))

    for key in "abab":
        get(key)
    assert loads == ["a", "b"]
    get("a")
    get("c")  # b was used longest ago
    get("a")
    get("b")
    assert loads == ["a", "b", "c", "b"] and cache.used <= 250
    get("huge", 1000)
    assert cache.used <= 250 and not get("a").flags.writeable


def test_many_threads_load_each_picture_once(tmp_path, monkeypatch):
    import scenerep.captures.capture as module

    views = []
    for i in range(6):
        Image.fromarray(np.full((24, 32, 3), i * 10, np.uint8)).save(tmp_path / f"{i}.png")
        views.append(View(f"{i}.png", Camera(30, 30, 16, 12, 32, 24), tmp_path / f"{i}.png"))
    loads = []
    load = module.load_picture
    monkeypatch.setattr(module, "load_picture", lambda path, size: loads.append(path.name) or load(path, size))
    capture = Capture(tmp_path, "test", views)
    capture.prefetch(range(6))
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda k: capture.image(k % 6)[0, 0, 0], range(240)))
    assert values == [k % 6 * 10 for k in range(240)] and sorted(loads) == [f"{i}.png" for i in range(6)]


def test_prefetch_leaves_errors_to_the_reader(tmp_path):
    capture = Capture(tmp_path, "test", [View("a.png", Camera(1, 1, 1, 1, 2, 2), tmp_path / "a.png")])
    capture.prefetch([0])
    with pytest.raises(DataError, match=r"a\.png"):
        capture.image(0)


def test_scene_scale_and_bad_captures(tmp_path):
    def view(name: str, x: float) -> View:
        pose = np.eye(4)
        pose[0, 3] = x
        return View(name, Camera(1, 1, 1, 1, 2, 2, pose), tmp_path / name)

    assert Capture(tmp_path, "t", [view("a", 0), view("b", 4)]).scene_scale == pytest.approx(2.2)
    assert Capture(tmp_path, "t", [view("a", 3)]).scene_scale == 1.0
    for views, words in (([], "no views"), ([view("a", 0), view("a", 1)], "same name")):
        with pytest.raises(DataError, match=words):
            Capture(tmp_path, "t", views)
    with pytest.raises(DataError, match="max_side=0"):
        Capture(tmp_path, "t", [view("a", 0)], max_side=0)
    with pytest.raises(DataError, match="points need"):
        Points(np.zeros((3, 3)), np.zeros((2, 3), np.uint8))
