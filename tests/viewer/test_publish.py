"""`scenerep publish`: a folder that needs nothing but a file server, whole or not at all."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rendered_capture import ring, small_scene
from short_run import train_briefly
from voxel_scenes import ball_pyramid, ball_voxels, encoded

from scenerep.cli.main import main
from scenerep.coding.container import read_head
from scenerep.geometry.cameras import camera_entry, camera_from_entry
from scenerep.io.scene_files import read_scene, write_scene
from scenerep.render import render
from scenerep.scenes import Voxels
from scenerep.viewer import offer_scene
from scenerep.viewer.publish import poster, with_tags
from scenerep.viewer.serve import page_modules


class Head(HTMLParser):
    """Title and meta tags of a page, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: dict[str, str] = {}
        self.order: list[str] = []
        self.title = ""
        self._in_title = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.order.append(tag)
        self._in_title = tag == "title"
        name = found.get("property") or found.get("name") or found.get("http-equiv")
        if tag == "meta" and name:
            assert name not in self.tags
            self.tags[name] = found["content"] or ""

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False


@pytest.fixture
def scene_file(tmp_path: Path) -> Path:
    write_scene(small_scene(300, degree=2), tmp_path / "blobs.srz")
    return tmp_path / "blobs.srz"


def test_a_file_is_copied_as_it_is(scene_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "site"
    assert main(["publish", str(scene_file), str(out), "--title", 'A <b> & "c"', "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["copied"] and told["file"] == "scene.srz"
    assert (out / "scene.srz").read_bytes() == scene_file.read_bytes()
    assert told["total_bytes"] == sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    scenes = json.loads((out / "scenes.json").read_text())
    assert [(s["url"], s["format"], s["count"], s["bytes"]) for s in scenes["scenes"]] == [
        ("scene.srz", "srz", 300, scene_file.stat().st_size)
    ]
    assert scenes["title"] == 'A <b> & "c"' and scenes["live"] is False and scenes["start"] == 0
    # Nothing of this machine, and nothing of the server's.
    for file in out.rglob("*"):
        if file.is_file():
            assert str(tmp_path).encode() not in file.read_bytes(), file
    for name, (file, _) in page_modules().items():
        if name != "index.html":
            assert (out / name).read_bytes() == file.read_bytes()
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_tags_for_social_networks(scene_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    title = 'A <b> & "c"'
    assert main(["publish", str(scene_file), str(out), "--title", title, "--url", "https://a.example/x/"]) == 0
    head = Head((out / "index.html").read_text("utf-8"))
    assert head.title == title
    for name in ("og:title", "twitter:title", "og:image:alt"):
        assert head.tags[name] == title
    assert head.tags["og:image"] == head.tags["twitter:image"] == "https://a.example/x/poster.jpg"
    assert head.tags["og:url"] == "https://a.example/x/" and head.tags["twitter:card"] == "summary_large_image"
    assert "300 Gaussians" in head.tags["og:description"]
    picture = Image.open(out / "poster.jpg")
    assert picture.size == (int(head.tags["og:image:width"]), int(head.tags["og:image:height"])) == (1200, 630)
    assert np.asarray(picture).std() > 10  # something is to be seen
    policy = head.tags["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "ws:" not in policy and "http" not in policy
    page = (out / "index.html").read_text("utf-8")
    # A policy counts for what comes after it.
    assert page.index("Content-Security-Policy") < min(page.index(tag) for tag in ("<script", "<link"))


def test_tags_need_their_places() -> None:
    page = '<!doctype html><html><head><meta charset="utf-8"><title>x</title></head>'
    assert "<title>y</title>" in with_tags(page, "y", "d", None)
    assert Head(with_tags(page, "y", "d", None)).tags["og:image"] == "poster.jpg"
    with pytest.raises(AssertionError):
        with_tags("<html></html>", "y", "d", None)


def test_a_run_is_written_in_layers(tmp_path: Path, synthetic_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "site"
    train_briefly(synthetic_dir, run, steps=20, most=400)
    assert main(["publish", str(run), str(out)]) == 0
    assert "written as .srz" in capsys.readouterr().err
    data = (out / "scene.srz").read_bytes()
    head = read_head(data)
    assert head.layer_count == 5 and {"cameras", "background", "up"} <= (head.metadata or {}).keys()
    told = json.loads((out / "scenes.json").read_text())
    (entry,) = told["cameras"]
    camera = camera_from_entry(entry)
    assert camera is not None and told["scenes"][0]["count"] == head.count
    # The names of the photographs say nothing to visitors, and may say too much.
    assert entry["name"] == "start" and entry["photo"] is None
    exact = render(read_scene(out / "scene.srz"), camera)
    from scenerep.runs import Run

    want = render(Run.open(run).scene(), camera)
    assert -10 * np.log10(np.mean((exact.rgb - want.rgb) ** 2)) > 40


def test_what_the_page_cannot_read_becomes_srz(tmp_path: Path) -> None:
    write_scene(small_scene(50), tmp_path / "a.glb")
    assert main(["publish", str(tmp_path / "a.glb"), str(tmp_path / "site")]) == 0
    assert len(read_scene(tmp_path / "site" / "scene.srz")) == 50


def test_only_a_published_folder_is_replaced(
    scene_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "site"
    publish = ["publish", str(scene_file), str(out)]
    assert main(publish) == 0
    assert main(publish) == 1 and "exists already" in capsys.readouterr().err
    assert main([*publish, "--overwrite", "--title", "new"]) == 0
    assert json.loads((out / "scenes.json").read_text())["title"] == "new"
    (out / "thesis.doc").write_text("mine")
    assert main([*publish, "--overwrite"]) == 1
    assert "other things than a published scene" in capsys.readouterr().err
    assert (out / "thesis.doc").read_text() == "mine"


def test_nothing_is_left_when_it_fails(scene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scenerep.errors import DataError
    from scenerep.viewer import publish as module

    def fail(*args: object) -> bytes:
        raise DataError("no poster today")

    monkeypatch.setattr(module, "poster", fail)
    assert main(["publish", str(scene_file), str(tmp_path / "site")]) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["blobs.srz"]


def test_wrong_use(scene_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", str(scene_file), str(tmp_path / "x"), "--url", "javascript:alert(1)"]) == 1
    assert "https://" in capsys.readouterr().err
    assert main(["publish", str(tmp_path / "missing.srz"), str(tmp_path / "x")]) == 1


def test_poster_shows_what_the_camera_sees() -> None:
    scene, camera = small_scene(), ring(4)[1]
    data = poster(scene, camera, (1.0, 1.0, 1.0))
    picture = np.asarray(Image.open(io.BytesIO(data)).resize((91, 48)), np.float64) / 255
    want = render(scene, camera.resized(72, 48), background=(1.0, 1.0, 1.0)).rgb
    middle = picture[:, (91 - 71) // 2 : (91 - 71) // 2 + 72]
    assert np.abs(middle - want).mean() < 0.05


def test_camera_entries_are_checked() -> None:
    camera = ring(3)[2]
    entry = json.loads(json.dumps(camera_entry(camera)))
    back = camera_from_entry(entry)
    assert back is not None and (back.width, back.fx) == (camera.width, camera.fx)
    np.testing.assert_allclose(back.world_from_camera, camera.world_from_camera, atol=1e-5)
    pose = entry["world_from_camera"]
    bad = [
        {"width": 0},
        {"fx": -1},
        {"fx": "x"},
        {"cx": float("nan")},
        {"world_from_camera": pose[:2]},
        {"height": 1e300},
    ]
    bad += [{"world_from_camera": [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}, {"world_from_camera": "abc"}]
    for change in bad:
        assert camera_from_entry({**entry, **change}) is None, change
    for value in (None, 3, [], "x", {}):
        assert camera_from_entry(value) is None


@pytest.mark.parametrize("kind", ["voxels", "pyramid"])
def test_a_voxel_field_is_published(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    field = ball_voxels(1) if kind == "voxels" else ball_pyramid()
    (tmp_path / "ball.srz").write_bytes(encoded(field))
    out = tmp_path / "site"
    assert main(["publish", str(tmp_path / "ball.srz"), str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["copied"] and told["count"] == len(field)
    (entry,) = json.loads((out / "scenes.json").read_text())["scenes"]
    assert entry["voxels"] is True
    assert (out / "scene.srz").read_bytes() == (tmp_path / "ball.srz").read_bytes()
    assert np.asarray(Image.open(out / "poster.jpg")).std() > 5
    assert f"{len(field):,} voxels" in (out / "index.html").read_text()


def test_a_run_of_voxels_is_offered_as_srz(tmp_path: Path) -> None:
    field = ball_voxels(0)
    offer = offer_scene(tmp_path / "run", field, tmp_path)
    assert (offer.format, offer.voxels, offer.count) == ("srz", True, len(field))
    again = read_scene(offer.file)
    assert isinstance(again, Voxels)
    np.testing.assert_array_equal(again.index, field.index)
    np.testing.assert_allclose(again.values, field.values, atol=0.05)
