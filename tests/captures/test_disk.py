"""capture.json and points.ply: round trips, all or nothing, and what broken files say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

from scenerep.captures import Capture, Points, View, read_capture, write_capture
from scenerep.captures.points import points_from_ply, points_to_ply
from scenerep.errors import DataError, FormatError, SceneRepError
from scenerep.geometry.cameras import Camera, Distortion
from scenerep.geometry.poses import look_at

UP = np.array([0.0, 0.0, 1.0])


@pytest.fixture
def capture(tmp_path, rng) -> Capture:
    source = tmp_path / "source"
    (source / "left").mkdir(parents=True)
    views = []
    for i, name in enumerate(("left/a.png", "b.png", "b.jpg")):
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(source / name)
        lens = Distortion("opencv", (0.6, 0.0, 0.0, 0.0)) if i == 1 else None
        pose = look_at(np.array([3.0, i, 1.0]), np.zeros(3), UP)
        views.append(View(name, Camera(30.5, 31, 16, 12.25, 32, 24, pose, lens), source / name, split="train"))
    Image.fromarray(np.full((24, 32), 255, np.uint8)).save(source / "m.png")
    Image.fromarray(np.full((24, 32), 1500, np.uint16)).save(source / "d.png")
    views[0] = View(**{**views[0].__dict__, "mask": source / "m.png", "split": "test"})
    views[2] = View(**{**views[2].__dict__, "depth": source / "d.png", "depth_scale": 0.001})
    points = Points(rng.normal(size=(50, 3)), rng.integers(0, 255, (50, 3), dtype=np.uint8))
    return Capture(source, "test", views, points, warnings=["one thing"])


def same_views(a: Capture, b: Capture) -> None:
    assert [v.name for v in a.views] == [v.name for v in b.views] and (a.train, a.test) == (b.train, b.test)
    for i in range(len(a)):
        assert np.allclose(a.camera(i).world_from_camera, b.camera(i).world_from_camera, atol=0)
        assert np.array_equal(a.camera(i).intrinsics, b.camera(i).intrinsics)


def test_copy_round_trip(capture, tmp_path):
    out = write_capture(capture, tmp_path / "out")
    back = read_capture(out)
    same_views(capture, back)
    assert (back.source, back.warnings) == ("test", ("one thing",))
    assert back.points is not None and capture.points is not None
    assert np.array_equal(back.points.xyz, capture.points.xyz) and np.array_equal(back.points.rgb, capture.points.rgb)
    for i, view in enumerate(capture.views):
        assert back.views[i].camera.distortion == view.camera.distortion
        assert back.views[i].image.read_bytes() == view.image.read_bytes()
        for kind in ("image", "mask", "depth"):
            mine, theirs = getattr(capture, kind)(i), getattr(back, kind)(i)
            assert (mine is None) == (theirs is None) and (mine is None or np.array_equal(mine, theirs))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "source"]


def test_pinhole_round_trip(capture, tmp_path):
    small = capture.resized(16)
    back = read_capture(write_capture(small, tmp_path / "out", pictures="pinhole"))
    same_views(small, back)
    assert all(view.camera.distortion is None for view in back.views)
    assert np.array_equal(back.image(1), small.image(1))  # a PNG stays one
    mask, theirs = small.mask(1), back.mask(1)
    assert mask is not None and theirs is not None and np.array_equal(mask, theirs)
    depth, expected = back.depth(2), small.depth(2)
    assert depth is not None and expected is not None and np.array_equal(depth, expected)


def test_out_is_replaced_only_when_asked_and_wholly(capture, tmp_path):
    out = tmp_path / "out"
    write_capture(capture, out, extra=lambda folder: (folder / "report.json").write_text("{}") and None)
    assert (out / "report.json").is_file()
    with pytest.raises(DataError, match="exists already"):
        write_capture(capture, out)
    write_capture(capture, out, overwrite=True)
    assert not (out / "report.json").exists() and sorted(p.name for p in tmp_path.iterdir()) == ["out", "source"]


def test_a_failure_leaves_nothing_and_keeps_what_was_there(capture, tmp_path):
    out = write_capture(capture, tmp_path / "out")
    before = (out / "capture.json").read_bytes()

    def fail(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left"):
        write_capture(capture, out, overwrite=True, extra=fail)
    capture.views[1].image.unlink()
    with pytest.raises(DataError, match=r"b\.png.*missing"):
        write_capture(capture, tmp_path / "other")
    assert (out / "capture.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "source"]


def test_copy_does_not_shrink(capture, tmp_path):
    with pytest.raises(DataError, match="cannot shrink"):
        write_capture(capture.resized(16), tmp_path / "out")


def edited(document: dict, path: str, value) -> dict:
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    place = document
    for parent in parents:
        place = place[parent]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return document


BAD = [
    ("format", "other", "'scenerep-capture'"),
    ("version", 2, "version 1"),
    ("views", [], "a list of views"),
    ("views", KeyError, "'views'"),
    ("new_field", 1, "no unknown fields"),
    ("views.0.new_field", 1, "no unknown fields in views[0]"),
    ("views.0.split", "val", "'train' or 'test' in views[0].split"),
    ("views.1.image", "../../secret.png", "inside the folder in views[1].image"),
    ("views.1.image", "/etc/passwd", "inside the folder"),
    ("views.0.camera.fx", -1, "views[0].camera.fx"),
    ("views.0.camera.fx", "30", "views[0].camera.fx"),
    ("views.0.camera.fx", math.nan, "views[0].camera.fx"),
    ("views.0.camera.width", 32.5, "views[0].camera.width"),
    ("views.0.camera.width", True, "views[0].camera.width"),
    ("views.0.camera", [], "an object in views[0].camera"),
    ("views.0.camera.world_from_camera.0.0", 2.0, "rigid 4x4"),
    ("views.0.camera.world_from_camera", [[1, 0], [0, 1]], "rigid 4x4"),
    ("views.1.camera.distortion.model", "magic", "views[1].camera.distortion.model"),
    ("views.1.camera.distortion.params", [1.0], "4 or 5 or 8 numbers"),
    ("warnings", "one", "texts in warnings"),
]


@pytest.mark.parametrize(("path", "value", "words"), BAD, ids=lambda v: str(v)[:40])
def test_broken_fields_are_named(capture, tmp_path, path, value, words):
    file = write_capture(capture, tmp_path / "out") / "capture.json"
    file.write_text(json.dumps(edited(json.loads(file.read_text()), path, value)))
    with pytest.raises(FormatError) as caught:
        read_capture(tmp_path / "out")
    assert words in caught.value.message and "capture.json" in caught.value.message


def test_broken_json_tells_the_byte(capture, tmp_path):
    out = write_capture(capture, tmp_path / "out")
    text = (out / "capture.json").read_bytes()
    for data in (text[:100], b"", b"\xff\xfe" + text, b"[" * 100_000):
        (out / "capture.json").write_bytes(data)
        with pytest.raises(FormatError, match=r"capture\.json"):
            read_capture(out)
    with pytest.raises(DataError, match="not there"):
        read_capture(tmp_path / "nowhere")


def test_missing_points_are_named(capture, tmp_path):
    out = write_capture(capture, tmp_path / "out")
    (out / "points.ply").unlink()
    with pytest.raises(DataError, match=r"points\.ply is missing"):
        read_capture(out)


def test_ply_variants():
    ascii_ply = (
        b"ply\nformat ascii 1.0\ncomment by hand\nelement vertex 2\n"
        b"property double x\nproperty double y\nproperty double z\n"
        b"property float nx\nproperty uchar red\nproperty uchar green\nproperty uchar blue\nelement face 0\n"
        b"property list uchar int vertex_index\nend_header\n1 2 3 0 255 0 7\nnan 2 3 0 1 2 3\n"
    )
    points = points_from_ply(ascii_ply, "a.ply")
    assert points.xyz.tolist() == [[1, 2, 3]] and points.rgb.tolist() == [[255, 0, 7]]
    header = b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float z\nproperty float y\n"
    header += b"property float x\nend_header\n"
    bare = points_from_ply(header + np.array([3, 2, 1], "<f4").tobytes(), "b.ply")
    assert bare.xyz.tolist() == [[1, 2, 3]] and bare.rgb.tolist() == [[128, 128, 128]]
    empty = Points(np.zeros((0, 3)), np.zeros((0, 3), np.uint8))
    assert len(points_from_ply(points_to_ply(empty), "c.ply")) == 0


def test_damaged_ply_raises_format_errors_only(rng):
    data = points_to_ply(Points(rng.normal(size=(20, 3)), rng.integers(0, 255, (20, 3), dtype=np.uint8)))
    with pytest.raises(FormatError, match="bytes of vertices"):
        points_from_ply(data[:-1], "cut.ply")
    with pytest.raises(FormatError):
        points_from_ply(data.replace(b"vertex 20", b"vertex 999999999999"), "huge.ply")
    for k in range(300):
        broken = bytearray(data[: rng.integers(0, len(data))] if k % 2 else data)
        for place in rng.integers(0, max(1, min(len(broken), 200)), 3):
            if broken:
                broken[min(place, len(broken) - 1)] ^= 1 << int(rng.integers(0, 8))
        try:
            points_from_ply(bytes(broken), "flipped.ply")
        except SceneRepError:
            continue
