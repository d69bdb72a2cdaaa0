"""check_capture: each fault is found, named, and not found where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from scenerep.captures import Capture
from scenerep.data_tools import open_capture
from scenerep.data_tools.check import Finding, check_capture
from scenerep.data_tools.synthetic import make_synthetic
from scenerep.geometry.poses import look_at


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Capture:
    return make_synthetic(tmp_path_factory.mktemp("check") / "scene", views=24, size=64, points=50)


@pytest.fixture
def copy(clean, tmp_path) -> Capture:
    """The clean capture with pictures that a test may spoil."""
    views = []
    for view in clean.views:
        path = tmp_path / view.name
        path.write_bytes(view.image.read_bytes())
        views.append(replace(view, image=path))
    return clean.with_views(views)


def one(findings: list[Finding], words: str) -> Finding:
    found = [finding for finding in findings if words in finding.what]
    assert len(found) == 1, [finding.what for finding in findings]
    assert found[0].advice
    return found[0]


def test_a_clean_capture_has_no_findings(clean):
    steps = []
    assert check_capture(clean, progress=lambda *step: steps.append(step)) == []
    assert steps[-1] == ("pictures", 24, 24)


def test_broken_and_missing_pictures(copy):
    copy.views[3].image.unlink()
    copy.views[5].image.write_bytes(b"")
    found = check_capture(copy)
    assert found[0].severity == "error"  # errors come first
    names = one(found, "2 pictures cannot be read").names
    assert "0003.png" in names[0] and "0005.png" in names[1]


def test_exposure(copy):
    picture = np.asarray(Image.open(copy.views[7].image)).copy()
    picture[..., :3] //= 4
    Image.fromarray(picture).save(copy.views[7].image)
    assert one(check_capture(copy), "brighter or darker").names == ("0007.png",)


def test_duplicates_across_the_split(copy):
    copy.views[9].image.write_bytes(copy.views[8].image.read_bytes())
    finding = one(check_capture(copy), "pairs of pictures are the same")
    assert finding.names == ("0008.png / 0009.png",) and "held out" in finding.advice


def test_stray_camera(copy):
    views = list(copy.views)
    eye = views[4].camera.centre
    pose = look_at(eye, 2 * eye, np.array([0.0, 0.0, 1.0]))
    views[4] = replace(views[4], camera=replace(views[4].camera, world_from_camera=pose))
    assert one(check_capture(copy.with_views(views)), "look away").names == ("0004.png",)


def test_few_views_and_mixed_sizes(copy):
    assert one(check_capture(copy.with_views(copy.views[:6])), "only 5 views").severity == "warning"
    assert one(check_capture(copy.with_views(copy.views[:3])), "only 2 views").severity == "error"
    view = copy.views[1]
    Image.open(view.image).resize((32, 32)).save(view.image)
    views = [replace(v, camera=v.camera.resized(32, 32)) if v is view else v for v in copy.views]
    assert one(check_capture(copy.with_views(views)), "2 sizes").names == ("0001.png",)


def test_folded_model(copy):
    """Pictures of another side (turned upside down, so that they surely differ) get the poses of three views."""
    views = list(copy.views)
    moved = []
    for i, far in ((1, 10), (2, 13), (6, 20)):
        pose = views[i].camera.world_from_camera.copy()
        pose[:3, 3] += 0.02
        views[far] = replace(views[far], camera=replace(views[far].camera, world_from_camera=pose))
        picture = np.asarray(Image.open(views[far].image))[::-1]
        Image.fromarray(np.ascontiguousarray(picture)).save(views[far].image)
        moved.append(f"{views[i].name} / {views[far].name}")
    finding = one(check_capture(copy.with_views(views)), "folded")
    assert set(finding.names) == set(moved)


@pytest.mark.slow
def test_beer_can_is_folded(shared_data):
    finding = one(check_capture(open_capture(shared_data / "beer_can")), "folded")
    assert {"0025.jpg / 0044.jpg", "0026.jpg / 0045.jpg", "0007.jpg / 0030.jpg"} <= set(finding.names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fox", "chair_blender", "fountain_p11", "milk_carton", "livingroom_rgbd"])
def test_good_captures_are_not(shared_data, name):
    assert not [finding for finding in check_capture(open_capture(shared_data / name)) if "folded" in finding.what]
