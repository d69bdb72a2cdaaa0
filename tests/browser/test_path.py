"""Camera paths of the page: to Python and back, and the pictures that both make of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import Site
from PIL import Image
from splat_scenes import psnr, python_camera, surfaces
from viewer_page import SIZE, capture, open_scene, small_page

from scenerep.cli.main import main
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import look_at
from scenerep.io.camera_path import read_camera_path, write_camera_path
from scenerep.io.scene_files import write_scene

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def files(site: Site) -> Path:
    write_scene(surfaces(1500, degree=2), site.files / "path.srz")
    return site.files


@pytest.fixture
def viewer(chromium: Any, site: Site, files: Path, tolerated: list[str]) -> Iterator[Page]:
    for page in small_page(chromium, site, tolerated):
        open_scene(page, f"{site.url}/index.html?scene=files/path.srz")
        page.keyboard.press("p")
        yield page


def look(eye: tuple[float, ...], fov_deg: float) -> Camera:
    fy = 0.5 * SIZE["height"] / np.tan(0.5 * np.radians(fov_deg))
    pose = look_at(np.array(eye), np.array([0.1, 0.2, 0.0]), np.array([0.0, -1.0, 0.0]))
    return Camera(fy, fy, SIZE["width"] / 2, SIZE["height"] / 2, SIZE["width"], SIZE["height"], pose)


KEYS = [look((0, -1, -3.5), 50), look((2.5, -1.2, -1.5), 40), look((2.8, -0.6, 1.5), 60)]


def scrub(page: Page, seconds: float) -> Camera:
    """The page's camera at a time of the path."""
    page.get_by_label("Time in seconds").evaluate(
        "(slider, t) => { slider.value = t; slider.dispatchEvent(new Event('input')); }", seconds
    )
    return python_camera(page.evaluate("() => scenerep.camera()"))


def assert_alike(found: Camera, expected: Camera) -> None:
    assert (found.width, found.height) == (expected.width, expected.height)
    np.testing.assert_allclose(found.world_from_camera, expected.world_from_camera, atol=1e-5)
    np.testing.assert_allclose([found.fx, found.fy], [expected.fx, expected.fy], rtol=1e-5)
    np.testing.assert_allclose([found.cx, found.cy], [expected.cx, expected.cy], atol=1e-3)


def test_a_path_of_the_page_is_read_and_drawn_by_python(viewer: Page, files: Path, tmp_path: Path) -> None:
    for camera in KEYS:
        m = camera.world_from_camera
        entry = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy} | SIZE
        viewer.evaluate("(camera) => scenerep.lookThrough(camera)", entry | {"world_from_camera": m.tolist()})
        viewer.get_by_role("button", name="Add keyframe").click()
    with viewer.expect_download() as download:
        viewer.get_by_role("button", name="Save").click()
    saved = tmp_path / "camera_path.json"
    download.value.save_as(saved)
    cameras, fps = read_camera_path(saved)
    assert fps == 30 and len(cameras) == 2 * 2 * 30  # two segments of two seconds
    content = json.loads(saved.read_text())
    assert len(content["keyframes"]) == 3 and content["seconds"] == 4
    for index, key in ((0, KEYS[0]), (-1, KEYS[2])):
        assert_alike(cameras[index], key)
    wanted = 37  # between two keyframes
    content["camera_path"] = [content["camera_path"][wanted]]
    (tmp_path / "one.json").write_text(json.dumps(content))
    target = tmp_path / "frame.png"
    command = ["render", str(files / "path.srz"), "--path", str(tmp_path / "one.json"), "--out", str(target)]
    assert main([*command, "--size", str(SIZE["width"])]) == 0
    rendered = np.asarray(Image.open(target).convert("RGB")) / 255.0
    assert_alike(scrub(viewer, 4 * wanted / (len(cameras) - 1)), cameras[wanted])
    found = capture(viewer, **SIZE)[..., :3] / 255.0
    assert rendered.std() > 0.05
    assert psnr(found, rendered) >= 48


def test_a_path_of_python_is_read_by_the_page(viewer: Page, tmp_path: Path) -> None:
    file = tmp_path / "path.json"
    write_camera_path(KEYS, file, fps=1.0)
    with viewer.expect_file_chooser() as chooser:
        viewer.get_by_role("button", name="Load").click()
    chooser.value.set_files(file)
    viewer.get_by_role("button", name="3", exact=True).wait_for()
    # Three pictures at one a second last three seconds, from the first to the last.
    for i, key in enumerate(KEYS):
        assert_alike(scrub(viewer, 1.5 * i), key)


def test_what_is_no_path_is_told(viewer: Page, tmp_path: Path) -> None:
    for text, words in (("{", "no JSON"), ("{}", "neither"), ('{"camera_path": [{}]}', "camera 1")):
        (tmp_path / "broken.json").write_text(text)
        with viewer.expect_file_chooser() as chooser:
            viewer.get_by_role("button", name="Load").click()
        chooser.value.set_files(tmp_path / "broken.json")
        alert = viewer.get_by_role("alert")
        alert.wait_for()
        assert words in alert.inner_text()
        viewer.get_by_role("button", name="Close the message").click()
