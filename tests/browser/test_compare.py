"""Two scenes with one camera: the divider, flicker, the map of differences, the photograph and its PSNR."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import Site
from PIL import Image
from rendered_capture import photograph_scene, ring, small_scene
from splat_scenes import psnr, surfaces
from viewer_page import SIZE, open_scene, ready, settle, small_page, until

from scenerep.io.scene_files import read_scene, write_scene
from scenerep.render import render
from scenerep.viewer import PageServer, Surroundings, offer_scene

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def files(site: Site) -> Path:
    write_scene(surfaces(1500, degree=1), site.files / "one.ply")
    write_scene(surfaces(900, degree=2, seed=1), site.files / "two.srz")
    return site.files


@pytest.fixture
def page(chromium: Any, site: Site, files: Path, tolerated: list[str]) -> Iterator[Page]:
    yield from small_page(chromium, site, tolerated)


@pytest.fixture
def both(page: Page, site: Site) -> Page:
    open_scene(page, f"{site.url}/index.html?scene=files/one.ply&compare=files/two.srz&bg=0.2,0.2,0.2")
    until(page, "() => scenerep.stats().mode === 'split'")
    settle(page)
    return page


def canvas(page: Page) -> np.ndarray:
    """[h, w, 3]: what is drawn, without what lies over it."""
    page.add_style_tag(content="body > :not(#stage), #stage > :not(#view) { visibility: hidden !important; }")
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))


def in_mode(page: Page, mode: str) -> np.ndarray:
    page.evaluate("(mode) => scenerep.setMode(mode)", mode)
    settle(page)
    return canvas(page)


def divider(page: Page) -> int:
    return int(page.get_attribute("#divider", "aria-valuenow") or -1)


def test_halves_are_the_scenes_pixel_for_pixel(both: Page) -> None:
    first, second = in_mode(both, "first"), in_mode(both, "second")
    assert (first != second).any()
    for share in (0.25, 0.5, 0.8):
        both.evaluate("(share) => scenerep.setDivider(share)", share)
        split = in_mode(both, "split")
        x = round(share * SIZE["width"])
        assert (split[:, :x] == first[:, :x]).all() and (split[:, x:] == second[:, x:]).all()


def test_the_divider_moves_by_mouse_and_keys(both: Page) -> None:
    assert divider(both) == 50
    box = both.locator("#divider").bounding_box()
    assert box is not None
    both.mouse.move(box["x"] + box["width"] / 2, 200)
    both.mouse.down()
    both.mouse.move(120, 200, steps=3)
    both.mouse.up()
    assert divider(both) == 25
    for key, place in [
        ("ArrowRight", 27),
        ("ArrowLeft", 25),
        ("PageUp", 35),
        ("PageDown", 25),
        ("Home", 0),
        ("End", 100),
    ]:
        both.keyboard.press(key)
        assert divider(both) == place, key


def test_space_shows_the_other_one_while_it_is_held(both: Page) -> None:
    both.focus("#view")
    for _ in range(2):
        both.keyboard.down("Space")
        assert both.evaluate("() => scenerep.stats().mode") == "second"
        both.keyboard.up("Space")
        assert both.evaluate("() => scenerep.stats().mode") == "split"


def test_difference_map(page: Page, site: Site, both: Page) -> None:
    found = in_mode(both, "difference")
    assert found.max() > 100
    open_scene(page, f"{site.url}/index.html?scene=files/one.ply&compare=files/one.ply")
    equal = in_mode(page, "difference")
    assert (equal == equal[0, 0]).all() and equal.max() < 30


def test_labels(both: Page, files: Path) -> None:
    left, right = both.locator(".label").all_inner_texts()
    assert "one.ply" in left and "1,500 splats" in left
    bits = 8 * (files / "two.srz").stat().st_size / 900
    assert "two.srz" in right and "900 splats" in right and f"{bits:.1f} bits a splat" in right


def test_photograph_and_its_psnr(page: Page, tmp_path: Path) -> None:
    """PSNR on the label is that of our renderer, and the photograph can be one of the sides."""
    capture = photograph_scene(tmp_path / "capture", small_scene(), ring(6, size=(96, 64)))
    file = tmp_path / "worse.ply"
    write_scene(small_scene().select(np.arange(50)), file)
    (tmp_path / "converted").mkdir()
    offer = offer_scene(file, read_scene(file), tmp_path / "converted")
    server = PageServer([offer], Surroundings(capture=capture), port=0)
    try:
        open_scene(page, server.url)
        page.keyboard.press("v")
        page.locator(".cameras button").nth(1).click()
        label = page.locator(".label", has_text=" dB at ")
        label.wait_for()
        shown = float(label.inner_text().split(" dB at ")[0].split("·")[-1])
        picture = np.clip(render(read_scene(file), capture.camera(1)).rgb, 0, 1)
        truth = capture.image(1)[..., :3] / 255.0
        assert shown == pytest.approx(psnr(np.round(255 * picture) / 255, truth), abs=0.1)
        page.get_by_label("Photograph as a side").check()
        assert page.locator("#divider").is_visible() and page.locator("#photo").is_visible()
        assert page.locator(".label").all_inner_texts()[1] == "photograph"
        ready(page)
    finally:
        server.stop()
