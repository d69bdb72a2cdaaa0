"""The whole page, opened as a user does, and what it says of itself."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from conftest import Site, watched_page
from splat_scenes import BASE64

if TYPE_CHECKING:
    from playwright.sync_api import Page

PATIENCE = 60.0  # s, for a machine that is busy
NO_SCENES = "status of 404"
"""What the browser logs when there is no scenes.json."""

SIZE = {"width": 480, "height": 360}


def small_page(browser: Any, site: Site, tolerated: list[str]) -> Iterator[Page]:
    """An empty page of `SIZE`, on which nothing moves by itself; for a fixture to yield from."""
    tolerated.append(NO_SCENES)
    yield from watched_page(browser, site, tolerated, viewport=SIZE, reduced_motion="reduce")


def until(page: Page, script: str, argument: Any = None) -> Any:
    """What an arrow function returns as soon as that is true; the page forbids strings that are run."""
    end = time.monotonic() + PATIENCE
    while not (found := page.evaluate(script, argument)):
        assert time.monotonic() < end, f"never true: {script}"
        page.wait_for_timeout(30)
    return found


def open_viewer(page: Page, url: str) -> None:
    page.goto(url)
    until(page, "() => Boolean(globalThis.scenerep)")


def open_scene(page: Page, url: str) -> None:
    """Opens the page and waits until its scenes are complete and sorted."""
    open_viewer(page, url)
    ready(page)


def ready(page: Page) -> None:
    until(page, "() => scenerep.ready()")
    settle(page)


def settle(page: Page) -> None:
    """Waits until two frames after the last pose change are drawn, and nothing moves."""
    page.evaluate("""async () => {
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      for (let same = 0, before = ""; same < 4; ) {
        await new Promise((resolve) => setTimeout(resolve, 60));
        await frame();
        const now = scenerep.pose();
        same = now === before ? same + 1 : 0;
        before = now;
      }
      await frame();
    }""")


def pose(page: Page) -> np.ndarray:
    """[4, 4] view from world."""
    return np.reshape(page.evaluate("() => scenerep.camera().viewFromWorld"), (4, 4))


def eye(page: Page) -> np.ndarray:
    m = pose(page)
    return -m[:3, :3].T @ m[:3, 3]


def capture(page: Page, **options: Any) -> np.ndarray:
    """[h, w, 4] uint8 of window.scenerep.capture; `width` and `height` have to be among the options."""
    text = page.evaluate(f"async (options) => {{ {BASE64} return base64(await scenerep.capture(options)); }}", options)
    found = np.frombuffer(base64.b64decode(text), np.uint8)
    return found.reshape(options["height"], options["width"], 4)
