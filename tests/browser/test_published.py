"""What `scenerep publish` writes, on the plainest of hosts: no ranges, and a path above it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from file_server import FileHandler, FileServer
from PIL import Image
from rendered_capture import small_scene
from voxel_scenes import ball_pyramid, encoded

from scenerep.cli.main import main
from scenerep.io.scene_files import write_scene

if TYPE_CHECKING:
    from playwright.sync_api import Page


class _Folder(FileHandler, SimpleHTTPRequestHandler):
    """Directory listings and index.html, as plain hosts have them, without ranges."""

    def do_GET(self) -> None:
        if not self.send_common():
            SimpleHTTPRequestHandler.do_GET(self)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    server = FileServer(partial(_Folder, directory=str(tmp_path)))
    yield server.url
    server.stop()


@pytest.mark.parametrize("ending", ["srz", "glb"])
def test_a_published_scene_opens_and_looks_like_its_poster(page: Page, host: str, tmp_path: Path, ending: str) -> None:
    write_scene(small_scene(400, degree=2), tmp_path / f"blobs.{ending}")
    site = tmp_path / "deep" / "er"
    assert main(["publish", str(tmp_path / f"blobs.{ending}"), str(site), "--title", "Blobs & more"]) == 0
    page.set_viewport_size({"width": 400, "height": 210})
    page.goto(f"{host}/deep/er/")
    page.wait_for_function("() => window.scenerep?.ready()")
    assert "Blobs & more" in page.title()
    (scene,) = page.evaluate("() => window.scenerep.stats().scenes")
    assert (scene["splats"], scene["format"]) == (400, "srz")
    numbers = page.evaluate("async () => [...await window.scenerep.capture({ width: 200, height: 105 })]")
    drawn = np.array(numbers, float).reshape(105, 200, 4)[..., :3]
    file = io.BytesIO(site.joinpath("poster.jpg").read_bytes())
    poster = np.asarray(Image.open(file).resize((200, 105), Image.Resampling.BOX), float)
    # The poster is six times as large, so the low-pass of 0.3 pixels is not the same, and it is a JPEG.
    assert 10 * np.log10(255**2 / np.mean((drawn - poster) ** 2)) > 30


def test_a_published_voxel_field_looks_like_its_poster(page: Page, host: str, tmp_path: Path) -> None:
    (tmp_path / "ball.srz").write_bytes(encoded(ball_pyramid()))
    site = tmp_path / "site"
    assert main(["publish", str(tmp_path / "ball.srz"), str(site)]) == 0
    page.set_viewport_size({"width": 400, "height": 210})
    page.goto(f"{host}/site/")
    page.wait_for_function("() => window.scenerep?.ready()")
    (scene,) = page.evaluate("() => window.scenerep.stats().scenes")
    assert (scene["noun"], scene["splats"], scene["loaded"]) == ("voxel", len(ball_pyramid()), len(ball_pyramid()))
    numbers = page.evaluate("async () => [...await window.scenerep.capture({ width: 200, height: 105 })]")
    drawn = np.array(numbers, float).reshape(105, 200, 4)[..., :3]
    file = io.BytesIO(site.joinpath("poster.jpg").read_bytes())
    poster = np.asarray(Image.open(file).resize((200, 105), Image.Resampling.BOX), float)
    assert poster.std() > 5
    # A pixel of the poster is six times as fine, and so is the level of the pyramid that it sees.
    assert 10 * np.log10(255**2 / np.mean((drawn - poster) ** 2)) > 22


def test_a_published_page_opens_nothing_from_elsewhere(
    page: Page, host: str, tmp_path: Path, tolerated: list[str]
) -> None:
    tolerated += ["Content Security Policy", "Refused to", "violates the following", "Fetch API cannot load"]
    write_scene(small_scene(50), tmp_path / "blobs.ply")
    assert main(["publish", str(tmp_path / "blobs.ply"), str(tmp_path / "site")]) == 0
    foreign = host.replace("127.0.0.1", "localhost") + "/blobs.ply"
    page.goto(f"{host}/site/?scene={foreign}")
    page.get_by_text("does not answer").first.wait_for()
    assert page.evaluate("() => window.scenerep.stats().scenes.length") == 0
