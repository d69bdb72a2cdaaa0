"""The procedural capture: deterministic, exact, and consistent between pictures, depth, alpha and points."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from scenerep.data_tools import open_capture
from scenerep.data_tools.synthetic import make_synthetic
from scenerep.data_tools.synthetic_scene import cast, make_scene
from scenerep.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "scene"
    make_synthetic(out, views=9, size=48, seed=3, points=500, depth=True, test_every=4)
    return out


def digest(folder) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    text = b"".join(str(p.relative_to(folder)).encode() + p.read_bytes() for p in files)
    return hashlib.sha256(text).hexdigest()


def test_same_arguments_same_bytes(folder, tmp_path):
    make_synthetic(tmp_path / "again", views=9, size=48, seed=3, points=500, depth=True, test_every=4)
    make_synthetic(tmp_path / "other", views=9, size=48, seed=4, points=500, depth=True, test_every=4)
    assert digest(tmp_path / "again") == digest(folder) != digest(tmp_path / "other")


def test_it_opens_as_a_capture(folder):
    capture = open_capture(folder)
    assert capture.source == "synthetic" and capture.test == [0, 4, 8] and len(capture) == 9
    assert capture.points is not None and len(capture.points) == 500
    for i in range(9):
        picture = capture.image(i)
        assert picture.shape == (48, 48, 4)
        alpha = picture[..., 3] / 255
        assert 0.2 < alpha.mean() < 0.95 and ((alpha > 0) & (alpha < 1)).any()  # soft edges
        assert picture[..., :3][alpha == 1].std() > 20  # textured
        depth = capture.depth(i)
        # The centre of a pixel is one of its nine samples.
        assert depth is not None and not (depth[alpha == 0] > 0).any() and (depth[alpha == 1] > 0).all()


def test_sparse_points_lie_on_the_surfaces_that_the_depth_shows(folder):
    capture = open_capture(folder)
    assert capture.points is not None
    nearest = np.full(len(capture.points), np.inf)
    colour_error = np.full(len(capture.points), np.inf)
    for i in capture.train:
        camera, depth, image = capture.camera(i), capture.depth(i), capture.image(i)
        assert depth is not None
        u, v, z = camera.project(capture.points.xyz.astype(np.float64)).T
        inside = (u >= 0) & (u < 48) & (v >= 0) & (v < 48) & (z > 0)
        row, column = v[inside].astype(int), u[inside].astype(int)
        off = np.abs(depth[row, column] - z[inside])
        nearest[inside] = np.minimum(nearest[inside], off)
        here = np.abs(image[row, column, :3].astype(float) - capture.points.rgb[inside]).mean(axis=1)
        colour_error[inside] = np.where(off < 0.05, np.minimum(colour_error[inside], here), colour_error[inside])
    assert np.mean(nearest < 0.05) > 0.95 and np.median(colour_error) < 12


def test_surfaces_look_different_from_different_sides():
    scene = make_scene(0)
    ball = scene[1]
    side = np.array([0.5, -0.4, 1.2])
    top = ball.centre + ball.radius * side / np.linalg.norm(side)
    eyes = top + np.array([[1.0, 0, 1.5], [-1.0, 0, 1.5], [0, 1.2, 1.5], [0.45, -0.3, 1.5]])
    d = (top - eyes) / np.linalg.norm(top - eyes, axis=1, keepdims=True)
    colour, t = cast(scene, eyes, d)
    assert np.allclose(t, np.linalg.norm(top - eyes, axis=1), atol=1e-6)  # the same point is seen first by all
    assert np.ptp(colour, axis=0).max() > 0.05


def test_hits_satisfy_the_shapes_equations():
    scene = make_scene(1)
    rng = np.random.default_rng(0)
    o = rng.normal(size=(4000, 3)) * 0.3 + [0, 0, 3]
    d = rng.normal(size=(4000, 3)) * 0.4 - [0, 0, 1]
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    _, t = cast(scene, o, d)
    p = (o + np.where(np.isfinite(t), t, 0)[:, None] * d)[np.isfinite(t)]
    on = np.abs(p[:, 2]) < 1e-9
    for solid in scene[1:]:
        local = np.abs((p - solid.centre) @ solid.turn())
        shape = solid.hit.__qualname__.split(".")[0]
        if shape == "_ball":
            on |= np.abs(np.linalg.norm(local, axis=1) - solid.radius) < 1e-9
        elif shape == "_box":
            on |= np.abs(local.max(axis=1) - 0.3) < 1e-9
        else:
            side, lid = np.hypot(local[:, 0], local[:, 1]) - 0.2, local[:, 2] - 0.36
            on |= np.abs(np.maximum(side, lid)) < 1e-9
    assert len(p) > 1000 and on.all()


def test_bad_numbers_and_existing_folders(folder, tmp_path):
    for bad in ({"views": 2}, {"size": 4}, {"points": -1}):
        with pytest.raises(ConfigError, match="make no capture"):
            make_synthetic(tmp_path / "x", **bad)
    with pytest.raises(DataError, match="exists already"):
        make_synthetic(folder, views=3, size=8)
    assert not (tmp_path / "x").exists()
