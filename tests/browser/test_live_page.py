"""A training on the page: numbers, pause, and scenes that are replaced as a whole."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from scenerep.events import Evaluated, Step
from scenerep.scenes import Gaussians
from scenerep.viewer import LiveView

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def live() -> Iterator[LiveView]:
    view = LiveView(0, min_seconds=0.0, dashboard=False)
    yield view
    view.stop()


def wall(channel: int, n: int = 300, seed: int = 0) -> Gaussians:
    """A wall of splats of one pure colour, elsewhere for each seed: parts of two walls would mix their colours."""
    r = np.random.default_rng(seed)
    sh = np.full((n, 1, 3), -0.5 / 0.28209479, np.float32)
    sh[:, 0, channel] *= -1
    means = r.uniform(-1, 1, (n, 3)) * [1, 1, 0.05]
    return Gaussians(means, np.full((n, 3), -2.0), r.normal(size=(n, 4)), np.full(n, 4.0), sh)


def step(number: int, loss: float = 0.125) -> Step:
    return Step(step=number, loss=loss, count=400, seconds=60.0, progress=0.25, seconds_left=83.0)


def show(page: Page, live: LiveView, scene: Gaussians, number: int) -> None:
    """Sends a scene as soon as the page wants one, and waits until the panel names it."""
    end = threading.Event()
    for _ in range(2000):
        if live.wants_scene:
            break
        end.wait(0.01)
    live.update(scene, step(number))
    page.locator(".live-panel dd", has_text=f"step {number:,}").wait_for()


def test_numbers_appear_and_the_curve_is_drawn(page: Page, live: LiveView) -> None:
    for number in range(1, 200):
        live.update(None, step(number, 1 / number))
    live.update(None, Evaluated(step=199, psnr=21.53, ssim=0.75, views=2))
    page.goto(live.url)
    panel = page.get_by_role("region", name="Training")
    panel.get_by_text("21.53 dB").wait_for()
    words = panel.inner_text()
    for part in ("199", "0.0050", "400", "1:23"):
        assert part in words
    assert panel.get_by_role("progressbar").get_attribute("value") == "0.25"
    curve = panel.get_by_role("img", name="Loss")
    assert curve.get_attribute("aria-label") == "Loss, 1.000 at first, 0.0050 now"
    inked = curve.evaluate(
        """(c) => c.getContext("2d").getImageData(0, 0, c.width, c.height).data
             .filter((x, i) => i % 4 === 3 && x > 0).length"""
    )
    assert inked > 100


def test_pause_button(page: Page, live: LiveView) -> None:
    live.update(None, step(1))
    page.goto(live.url)
    button = page.get_by_role("button", name="Pause")
    button.click()
    page.get_by_role("button", name="Go on").wait_for()
    assert live.paused and page.get_by_text("Paused.").is_visible()
    live.pause(False)  # from elsewhere
    button.wait_for()


def test_scenes_are_replaced_as_a_whole(page: Page, live: LiveView) -> None:
    page.set_viewport_size({"width": 400, "height": 400})
    page.goto(live.url)
    seen = set()
    show(page, live, wall(0), 1)
    stop = threading.Event()

    def train() -> None:
        number = 1
        while not stop.is_set():
            if live.wants_scene:
                number += 1
                live.update(wall(number % 3, seed=number), step(number))
            stop.wait(0.02)

    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        for i in range(12):
            if i == 6:  # and while it moves
                page.mouse.move(200, 200)
                page.mouse.down()
            if i >= 6:
                page.mouse.move(200 + 3 * i, 200)
            picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), int)
            shown = picture[90:290, 265:385].reshape(-1, 3)  # beside the panel
            bright = shown[shown.max(axis=1) > 128]
            assert len(bright) > 500
            # Each pixel has one of the three colours, and all the same one.
            channels = set(bright.argmax(axis=1).tolist())
            assert len(channels) == 1 and np.sort(bright, axis=1)[:, 1].max() < 40
            seen |= channels
    finally:
        stop.set()
        trainer.join()
    assert seen == {0, 1, 2}
    assert page.evaluate("window.scenerep.stats().scenes.length") == 1


def test_the_last_scene_stays_when_the_training_is_over(page: Page, live: LiveView, tolerated: list[str]) -> None:
    page.goto(live.url)
    show(page, live, wall(1, n=50), 7)
    live.finish(wall(2, n=60))
    live.stop()
    page.get_by_text("The training is over").wait_for()
    page.wait_for_function("() => window.scenerep.stats().scenes[0].splats === 60")
    assert page.get_by_role("button", name="Pause").is_disabled()


def test_a_page_comes_back_after_a_broken_connection(page: Page, live: LiveView, tolerated: list[str]) -> None:
    tolerated.append("WebSocket connection")
    live.update(None, step(1))
    page.goto(live.url)
    page.get_by_role("button", name="Pause").wait_for()
    port = live.port
    live.stop()
    page.get_by_text("No connection to the training").wait_for()
    again = LiveView(port, min_seconds=0.0, dashboard=False)
    try:
        again.update(None, step(5000))
        page.locator(".live-panel dd", has_text="5,000").wait_for()
    finally:
        again.stop()
