"""Readers on real captures: stored observations, other descriptions of the same cameras, the pictures themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from scenerep.captures import Capture
from scenerep.data_tools import open_capture
from scenerep.data_tools.matching import extract, fundamental, match
from scenerep.data_tools.readers import opensfm, strecha
from scenerep.data_tools.readers.colmap_model import read_model
from scenerep.geometry.cameras import Camera
from scenerep.geometry.distortion import pinhole, project_distorted
from scenerep.geometry.poses import rotation_angle_deg


@pytest.mark.parametrize(("name", "place"), [("beer_can", "sparse/0"), ("sceaux_castle", "sparse")])
def test_colmap_points_fall_onto_their_keypoints(shared_data, name, place):
    model = read_model(shared_data / name / place)
    capture = open_capture(shared_data / name)
    row = {int(number): k for k, number in enumerate(model.ids)}
    views = {view.name: view for view in capture.views}
    errors = []
    for image in model.images:
        seen = image.point_ids >= 0
        xyz = model.xyz[[row[int(number)] for number in image.point_ids[seen]]]
        uvz = project_distorted(views[image.name].camera, xyz)
        assert (uvz[:, 2] > 0).all()
        errors.append(np.linalg.norm(uvz[:, :2] - image.pixels[seen], axis=1))
    assert np.median(np.concatenate(errors)) < 1.0 and np.mean(np.concatenate(errors)) < 1.0
    assert capture.points is not None and len(capture.points) == len(model.xyz)


def test_fountain_transforms_equal_its_ground_truth_files(shared_data):
    mine, truth = open_capture(shared_data / "fountain_p11"), strecha.read(shared_data / "fountain_p11")
    assert (mine.source, truth.source) == ("nerfstudio", "strecha") and len(mine) == len(truth) == 11
    for i in range(11):
        a, b = mine.camera(i), truth.camera(i)
        assert np.allclose(a.intrinsics, b.intrinsics, atol=1e-3)
        assert np.linalg.norm(a.centre - b.centre) < 1e-4
        assert rotation_angle_deg(a.world_from_camera, b.world_from_camera) < 1e-2


def epipolar_inliers(capture: Capture, i: int, j: int, side: int = 640) -> tuple[float, int]:
    """Share of SIFT matches, found without the poses, within 2 pixels of their epipolar line; and their number."""
    features, cameras = [], []
    for k in (i, j):
        stored = capture.views[k].camera
        features.append(extract(capture.views[k], side, 3000))
        scale = side / max(stored.width, stored.height)
        cameras.append(pinhole(stored).resized(round(stored.width * scale), round(stored.height * scale)))
    a, b = features
    like = a.descriptors @ b.descriptors.T
    best = like.argmax(axis=1)
    second = np.partition(like, -2, axis=1)[:, -2]
    mutual = like.argmax(axis=0)[best] == np.arange(len(best))
    distinct = (2 - 2 * like.max(axis=1)) < 0.7**2 * (2 - 2 * second)
    rows = np.flatnonzero(mutual & distinct)
    lines = np.append(a.pixels[rows], np.ones((len(rows), 1)), axis=1) @ fundamental(*cameras).T
    off = np.abs((np.append(b.pixels[best[rows]], np.ones((len(rows), 1)), axis=1) * lines).sum(axis=1))
    off /= np.linalg.norm(lines[:, :2], axis=1)
    return float((off < 2).mean()), len(rows)


# Two neighbouring views each. Poses in wrong axes, or in the wrong order, leave a few per cent of inliers.
PAIRS = [
    ("fox", "images/0001.jpg", "images/0002.jpg"),
    ("milk_carton", "13.jpg", "3.jpg"),
    ("temple_sparse_ring", "templeSR0003.png", "templeSR0014.png"),
    ("berlin_cathedral", "01.jpg", "02.jpg"),
    ("books_dynamic", "image000001.jpg", "image000006.jpg"),
    ("livingroom_rgbd", "00060.jpg", "00065.jpg"),
    ("beer_can", "0000.jpg", "0001.jpg"),
]


@pytest.mark.parametrize(("name", "first", "second"), PAIRS, ids=[name for name, *_ in PAIRS])
def test_matches_lie_on_epipolar_lines(shared_data, name, first, second):
    capture = open_capture(shared_data / name)
    names = [view.name for view in capture.views]
    share, count = epipolar_inliers(capture, names.index(first), names.index(second))
    assert count >= 25 and share > 0.8


def warped(a: Camera, b: Camera, depth: np.ndarray, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`picture` of b as a sees it, and where that is known [h, w]."""
    v, u = np.mgrid[0 : a.height, 0 : a.width] + 0.5
    plane = np.stack([(u - a.cx) / a.fx, (v - a.cy) / a.fy, np.ones_like(u)], axis=-1) * depth[..., None]
    p = b.project(plane.reshape(-1, 3) @ a.world_from_camera[:3, :3].T + a.centre).reshape(*depth.shape, 3)
    known = (depth > 0) & (p[..., 2] > 0) & (p[..., 0] > 1) & (p[..., 0] < b.width - 1)
    known &= (p[..., 1] > 1) & (p[..., 1] < b.height - 1)
    return map_coordinates(picture, [p[..., 1] - 0.5, p[..., 0] - 0.5], order=1, mode="nearest"), known


def test_living_room_depth_carries_one_picture_onto_another(shared_data):
    capture = open_capture(shared_data / "livingroom_rgbd", max_side=320)
    assert len(capture) == 43 and capture.points is None
    a, b = (capture.image(i)[..., 1].astype(float) for i in (0, 4))
    depth = capture.depth(0)
    assert depth is not None and 0.5 < np.median(depth[depth > 0]) < 10
    moved, known = warped(capture.camera(0), capture.camera(4), depth, b)
    assert known.mean() > 0.4
    assert np.abs(moved - a)[known].mean() < 0.5 * np.abs(b - a)[known].mean()


def test_chair_silhouettes_share_a_hull(shared_data):
    from scenerep.data_tools.hull import hull_points, inside_hull

    capture = open_capture(shared_data / "chair_blender", max_side=100)
    assert (len(capture.train), len(capture.test)) == (100, 25) and capture.image(0).shape == (100, 100, 4)
    views = capture.train[::6]
    points = hull_points(capture, views, 1000, np.random.default_rng(0))
    # The hull of some views holds up in others that were not asked: cameras, alpha and axes agree.
    assert len(points) == 1000 and inside_hull(capture, capture.test[::3], points).mean() > 0.7
    assert np.abs(points).max() < 1.6  # the chair stands in the cube of the NeRF synthetic set


def test_fox_names_the_missing_frames(shared_data):
    capture = open_capture(shared_data / "fox")
    assert len(capture) == 50 and len(capture.warnings) == 1 and "17 of 67" in capture.warnings[0]
    assert len(capture.test) == 7 and capture.camera(0).distortion is None
    mask = capture.resized(200).mask(0)
    assert mask is not None and 0.9 < mask.mean() < 1


def test_berlin_masks_and_points(shared_data):
    file = shared_data / "berlin_cathedral" / "reconstruction_example.json"
    capture = opensfm.read(file)
    shots = json.loads(file.read_text())[0]["shots"]
    assert sorted(shots) == [view.name for view in capture.views]
    assert all(view.mask is not None for view in capture.views) and (capture.views[0].camera.width == 1632)
    assert capture.points is not None
    uvz = project_distorted(capture.views[0].camera, capture.points.xyz)
    inside = (uvz[:, 2] > 0) & (uvz[:, 0] > 0) & (uvz[:, 0] < 1632) & (uvz[:, 1] > 0) & (uvz[:, 1] < 1224)
    # Points have the colours of the pixels they fall onto, if pose and lens are read rightly.
    picture = capture.image(0)
    u, v = capture.camera(0).project(capture.points.xyz[inside])[:, :2].astype(int).T
    keep = (u >= 0) & (u < 1632) & (v >= 0) & (v < 1224)
    difference = picture[v[keep], u[keep]].astype(int) - capture.points.rgb[inside][keep]
    assert inside.mean() > 0.5 and np.median(np.abs(difference)) < 20


def test_milk_carton_held_out_views(shared_data):
    photos, cut_outs = (open_capture(shared_data / "milk_carton" / part) for part in ("", "images_mask"))
    assert [photos.views[i].name for i in photos.test] == ["18.jpg", "22.jpg", "26.jpg", "39.jpg", "40.jpg", "8.jpg"]
    assert photos.test == cut_outs.test and cut_outs.image(0).shape[2] == 4
    assert np.allclose(photos.camera(7).world_from_camera, cut_outs.camera(7).world_from_camera)


def test_guided_matches_are_mutual(shared_data):
    capture = open_capture(shared_data / "fountain_p11")
    a, b = (extract(capture.views[i], 480, 1500) for i in (3, 4))
    cameras = [pinhole(capture.views[i].camera).resized(480, 320) for i in (3, 4)]
    forth, back = match(a, b, *cameras), match(b, a, *cameras[::-1])
    both = {tuple(m) for m in forth} & {tuple(m[::-1]) for m in back}
    assert len(forth) > 100 and len(both) > 0.7 * len(forth)
    # Equal descriptors (ties) are the only way to appear twice.
    assert min(len(np.unique(forth[:, k])) for k in (0, 1)) > 0.99 * len(forth)
