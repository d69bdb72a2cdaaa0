"""Photographs to capture: cameras against known ones, what is written, masks, orientation, bad files, failures."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import sfm_scene
from PIL import Image

from scenerep.data_tools import open_capture
from scenerep.data_tools.photos import PhotoOptions, process_photos
from scenerep.data_tools.prepare import natural_order, prepare
from scenerep.data_tools.sfm import SfmOptions
from scenerep.errors import DataError


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    sfm_scene.write_photos(folder)
    return folder


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    """(report, capture, the progress that was told)"""
    out = tmp_path_factory.mktemp("made") / "corner"
    told: list[tuple[str, int, int]] = []
    report = process_photos(photos, out, progress=lambda *step: told.append(step))
    return report, open_capture(out), told


def test_cameras_are_where_they_were(made):
    report, capture, _ = made
    assert (report.registered, report.total, report.unregistered) == (8, 8, [])
    centres = np.array([view.camera.centre for view in capture.views])
    assert sfm_scene.centre_error(centres, np.array([p[:3, 3] for p in sfm_scene.arc()])) < 0.01
    assert capture.camera(0).fx == pytest.approx(sfm_scene.FOCAL, rel=0.03)
    assert report.reprojection_px < 0.6


def test_points_have_the_colours_of_the_pictures(made):
    _, capture, _ = made
    camera, picture = capture.camera(0), capture.image(0)
    uvz = camera.project(capture.points.xyz.astype(np.float64))
    inside = (uvz[:, 2] > 0) & np.all((uvz[:, :2] >= 0) & (uvz[:, :2] < [camera.width, camera.height]), axis=1)
    u, v = uvz[inside, :2].astype(int).T
    there = np.abs(picture[v, u].astype(int) - capture.points.rgb[inside]).mean()
    elsewhere = np.abs(np.roll(picture[v, u], 7, axis=0).astype(int) - capture.points.rgb[inside]).mean()
    assert inside.sum() > 100
    assert there < 0.6 * elsewhere


def test_world_is_level_and_of_unit_spread(made):
    _, capture, _ = made
    centres = np.array([view.camera.centre for view in capture.views])
    down = np.mean([view.camera.world_from_camera[:3, 1] for view in capture.views], axis=0)
    np.testing.assert_allclose(down / np.linalg.norm(down), [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(centres.mean(axis=0), 0, atol=1e-6)
    assert np.sqrt((centres**2).sum(axis=1).mean()) == pytest.approx(1)


def test_report_is_saved_and_progress_runs_to_the_end(made):
    report, capture, told = made
    assert json.loads((capture.root / "report.json").read_text()) == report.as_dict()
    for stage in ("pictures", "features", "matches", "cameras", "writing"):
        steps = [(done, total) for name, done, total in told if name == stage]
        assert steps[-1][0] == steps[-1][1] > 0
        assert all(a[0] <= b[0] for a, b in pairwise(steps))
    assert report.seconds["total"] >= report.seconds["features"] > 0


def test_colmap_model_agrees_with_the_capture(made):
    import pycolmap

    _, capture, _ = made
    model = pycolmap.Reconstruction(str(capture.root / "sparse" / "0"))
    assert model.num_points3D() == len(capture.points)
    assert {camera.model_name for camera in model.cameras.values()} == {"PINHOLE"}
    by_name = {image.name: image for image in model.images.values()}
    for i, view in enumerate(capture.views):
        image, camera = by_name[view.image.name], capture.camera(i)
        np.testing.assert_allclose(image.cam_from_world().matrix(), camera.camera_from_world[:3], atol=1e-9)
        np.testing.assert_allclose(image.camera.params, [camera.fx, camera.fy, camera.cx, camera.cy], rtol=1e-9)
        seen = [(point.xy, model.points3D[point.point3D_id].xyz) for point in image.points2D if point.has_point3D()]
        xy, xyz = (np.array(part) for part in zip(*seen))
        assert np.abs(camera.project(xyz)[:, :2] - xy).mean() < 1.0


def test_same_seed_same_cameras(made, photos, tmp_path):
    _, capture, _ = made
    process_photos(photos, tmp_path / "again")
    again = open_capture(tmp_path / "again")
    for one, other in zip(capture.views, again.views, strict=True):
        np.testing.assert_array_equal(one.camera.world_from_camera, other.camera.world_from_camera)


def test_global_mapper_and_a_smaller_size(photos, tmp_path):
    options = PhotoOptions(max_side=160, sfm=SfmOptions(mapper="global"), test_every=0)
    report = process_photos(photos, tmp_path / "out", options)
    capture = open_capture(tmp_path / "out", test_every=0)
    assert report.registered == 8
    assert capture.image(0).shape == (120, 160, 3)
    centres = np.array([view.camera.centre for view in capture.views])
    assert sfm_scene.centre_error(centres, np.array([p[:3, 3] for p in sfm_scene.arc()])) < 0.02


def test_bad_files_are_named_and_skipped(photos, tmp_path):
    folder = tmp_path / "with bad ones"
    shutil.copytree(photos, folder)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    whole = (folder / "photo3.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    report = process_photos(folder, tmp_path / "out")
    assert set(report.skipped) == {"empty.jpg", "text.png", "cut.png"}
    assert report.registered == report.total == 8
    assert sum("skipped" in warning for warning in report.warnings) == 3


def test_too_few_usable_pictures(photos, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    shutil.copy(photos / "photo0.png", folder)
    shutil.copy(photos / "photo1.png", folder)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    with pytest.raises(DataError, match=r"2 usable pictures.*broken\.jpg"):
        process_photos(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_pictures(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "IMG_1.HEIC").write_bytes(b"x")
    with pytest.raises(DataError, match="no pictures") as caught:
        process_photos(tmp_path / "in", tmp_path / "out")
    assert ".heic" in caught.value.hint
    with pytest.raises(DataError, match="not a folder"):
        process_photos(tmp_path / "missing", tmp_path / "out")


def test_views_that_do_not_overlap_end_in_advice(tmp_path, rng):
    folder = tmp_path / "apart"
    folder.mkdir()
    for i in range(4):  # each a picture of its own
        blobs = Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8))
        blobs.resize((320, 240), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    with pytest.raises(DataError) as caught:
        process_photos(folder, tmp_path / "out")
    assert "apart" in caught.value.message
    assert "overlap" in caught.value.hint or "two thirds" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["apart"]  # nothing half-written


def test_existing_output_stays_without_overwrite(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        process_photos(photos, tmp_path / "out")
    assert (tmp_path / "out" / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("bad", [{"max_side": 0}, {"min_registered": 1.5}, {"test_every": 1}])
def test_options_are_checked(photos, tmp_path, bad):
    with pytest.raises(DataError, match=next(iter(bad)).replace("_", "-")):
        process_photos(photos, tmp_path / "out", PhotoOptions(**bad))


def test_orientation_size_masks_and_alpha(tmp_path):
    folder, masks, work = tmp_path / "in", tmp_path / "masks", tmp_path / "work"
    for made_folder in (folder, masks, work):
        made_folder.mkdir()
    pixels = sfm_scene.render(sfm_scene.pose(0), 128, 64)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    Image.fromarray(pixels).save(folder / "a.png", exif=exif)
    alpha = np.full((64, 128, 1), 255, np.uint8)
    alpha[:, :64] = 0
    Image.fromarray(np.concatenate([pixels, alpha], axis=2)).save(folder / "b.png")
    half = np.zeros((128, 64), np.uint8)
    half[:64] = 255
    Image.fromarray(half).save(masks / "a.png.png")
    files = sorted(folder.iterdir())
    (a, b), skipped = prepare(files, folder, work, side=64, masks=masks)
    assert skipped == {}
    assert (a.width, a.height, a.picture.width, a.picture.height) == (64, 128, 32, 64)
    assert (b.width, b.height, b.picture.width, b.picture.height) == (128, 64, 64, 32)
    upright = np.asarray(Image.fromarray(np.rot90(pixels, -1)).resize((32, 64), Image.Resampling.LANCZOS))
    assert np.abs(np.asarray(Image.open(a.picture.path)).astype(int) - upright).mean() < 2
    assert np.asarray(Image.open(a.picture.mask))[:32].all() and not np.asarray(Image.open(a.picture.mask))[32:].any()
    assert (
        np.asarray(Image.open(b.picture.mask))[:, 33:].all()
        and not np.asarray(Image.open(b.picture.mask))[:, :31].any()
    )
    assert a.picture.lens != b.picture.lens


def test_exif_gives_focal_length_lens_and_place(tmp_path):
    (tmp_path / "work").mkdir()
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Model"
    exif.get_ifd(0x8769)[0xA405] = 27
    exif.get_ifd(0x8825).update({1: "S", 2: (10.0, 30.0, 0.0), 3: "E", 4: (20.0, 0.0, 36.0)})
    Image.fromarray(sfm_scene.render(sfm_scene.pose(0), 160, 120)).save(tmp_path / "a.jpg", exif=exif)
    Image.fromarray(sfm_scene.render(sfm_scene.pose(0), 160, 120)).save(tmp_path / "b.jpg")
    files = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    (a, b), _ = prepare(files, tmp_path, tmp_path / "work", side=1600)
    assert a.picture.focal_px == pytest.approx(27 / 36 * 160)
    assert a.picture.gps == pytest.approx((-10.5, 20.01))
    assert b.picture.focal_px is None and b.picture.gps is None
    assert a.picture.lens != b.picture.lens
    (a, b), _ = prepare(files, tmp_path, tmp_path / "work", side=1600, camera="single")
    assert a.picture.lens == b.picture.lens


def test_natural_order():
    names = ["img10.jpg", "img2.jpg", "IMG1.jpg", "a/1.jpg"]
    assert sorted(map(Path, names), key=natural_order) == [
        Path(n) for n in ("a/1.jpg", "IMG1.jpg", "img2.jpg", "img10.jpg")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llff_fern", "sceaux_castle"])
def test_real_photographs_find_their_place(shared_data, tmp_path, name):
    report = process_photos(shared_data / name / "images", tmp_path / name)
    assert report.registered == report.total
    assert report.reprojection_px < 1.0


@pytest.mark.slow
def test_fountain_against_ground_truth(shared_data, tmp_path):
    process_photos(shared_data / "fountain_p11" / "images", tmp_path / "out")
    truth = {Path(v.name).stem: v.camera.centre for v in open_capture(shared_data / "fountain_p11").views}
    views = open_capture(tmp_path / "out").views
    assert len(views) == 11
    found = np.array([view.camera.centre for view in views])
    assert sfm_scene.centre_error(found, np.array([truth[Path(view.name).stem] for view in views])) < 0.005


@pytest.mark.slow
def test_room_whose_views_hardly_overlap(shared_data, tmp_path):
    with pytest.raises(DataError) as caught:
        process_photos(shared_data / "room_phone" / "images", tmp_path / "out")
    assert "two thirds" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
