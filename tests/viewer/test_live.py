"""Watching a training: numbers, scenes for pages that are ready, and pauses from either page."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from own_loop import run_in_own_loop
from rendered_capture import small_scene

from scenerep.events import Evaluated, Saved, Step
from scenerep.io import ply
from scenerep.viewer import LiveView
from scenerep.viewer.splats import heaviest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of viser and websockets

Page = aiohttp.ClientWebSocketResponse


@pytest.fixture
def live() -> Iterator[LiveView]:
    view = LiveView(0, min_seconds=0.0, dashboard=False)
    yield view
    view.stop()


def step(number: int) -> Step:
    return Step(step=number, loss=1 / number, count=60, seconds=60.0, progress=0.25, seconds_left=180.0)


def watch(live: LiveView, work: Callable[[Page], Awaitable[None]]) -> None:
    """Runs `work` on a connection of a page."""

    async def connect() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{live.url}/live", origin=live.url, max_msg_size=0) as page,
        ):
            await asyncio.wait_for(work(page), 20)

    run_in_own_loop(connect())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def receive(page: Page, kind: str) -> dict:
    """The next message of a kind; others in between are passed over."""
    while True:
        message = await page.receive()
        if message.type == aiohttp.WSMsgType.TEXT and json.loads(message.data)["type"] == kind:
            return json.loads(message.data)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message


async def receive_bytes(page: Page) -> bytes:
    while True:
        message = await page.receive()
        if message.type == aiohttp.WSMsgType.BINARY:
            return message.data
        assert message.type == aiohttp.WSMsgType.TEXT, message


def test_numbers_and_the_curve(live: LiveView) -> None:
    for number in range(1, 5001):
        live.update(None, step(number))
    live.update(None, Evaluated(step=5000, psnr=21.5, ssim=0.75, views=2))

    async def look(page: Page) -> None:
        points = (await receive(page, "losses"))["points"]
        state = await receive(page, "state")
        assert 1000 < len(points) <= 2000 and points[-1][0] > 4990
        assert all(abs(loss - 1 / number) < 1e-5 for number, loss in points)
        assert (state["step"], state["count"], state["psnr"], state["ssim"]) == (5000, 60, 21.5, 0.75)
        assert state["seconds_left"] == 180 and not state["paused"] and not state["finished"]
        live.update(None, Saved(step=5000, path=Path("x")))  # nothing to tell
        await asyncio.sleep(0.3)
        live.update(None, step(5001))
        assert (await receive(page, "state"))["step"] == 5001

    watch(live, look)


def test_a_page_gets_scenes_when_it_is_ready(live: LiveView) -> None:
    assert not live.wants_scene
    live.update(small_scene(30), step(1))  # nobody looks: not even encoded
    assert live._feed._scene is None

    async def look(page: Page) -> None:
        await receive(page, "state")
        assert not live.wants_scene
        await page.send_json({"type": "ready"})
        await until(lambda: live.wants_scene)
        scene = small_scene(40, degree=2)
        live.update(scene, step(7))
        note = await receive(page, "scene")
        data = await receive_bytes(page)
        assert (note["step"], note["count"], note["total"], note["bytes"]) == (7, 40, 40, len(data))
        got = ply.read(data, "live")
        for name, array in scene.arrays().items():
            np.testing.assert_array_equal(getattr(got, name), array)
        assert not live.wants_scene  # it has not said that it is ready again
        live.update(small_scene(5), step(8))
        await page.send_json({"type": "ready"})
        await until(lambda: live.wants_scene)
        live.update(small_scene(6), step(9))
        assert (await receive(page, "scene"))["step"] == 9

    watch(live, look)

    async def look_later(page: Page) -> None:
        await page.send_json({"type": "ready"})
        assert (await receive(page, "scene"))["step"] == 9  # the last one is kept for those who come

    watch(live, look_later)


def test_scenes_come_at_most_every_few_seconds() -> None:
    live = LiveView(0, min_seconds=60.0, dashboard=False)

    async def look(page: Page) -> None:
        await page.send_json({"type": "ready"})
        await until(lambda: live.wants_scene)
        live.update(small_scene(3), step(1))
        await receive(page, "scene")
        await page.send_json({"type": "ready"})
        await until(lambda: live._feed.wants_scene)
        assert not live.wants_scene
        finishing = asyncio.create_task(asyncio.to_thread(live.finish, small_scene(4)))
        assert (await receive(page, "scene"))["count"] == 4  # the last one comes all the same
        await page.send_json({"type": "ready"})
        await finishing

    try:
        watch(live, look)
    finally:
        live.stop()


def test_most_keeps_the_large_and_opaque() -> None:
    scene = small_scene(50)
    scene.log_scales[:] = -5
    scene.opacity_logits[:] = 0
    scene.log_scales[[3, 40]] = -1
    scene.opacity_logits[7] = -10
    np.testing.assert_array_equal(heaviest(scene, 2), [3, 40])
    np.testing.assert_array_equal(heaviest(scene), [i for i in range(50) if i != 7])


def test_finish_waits_for_pages_that_are_busy(live: LiveView) -> None:
    async def look(page: Page) -> None:
        await receive(page, "state")
        finishing = threading.Thread(target=live.finish, args=(small_scene(8),))
        finishing.start()
        state = await receive(page, "state")
        assert state["finished"]
        await asyncio.sleep(0.2)
        assert finishing.is_alive()
        await page.send_json({"type": "ready"})
        assert (await receive(page, "scene"))["count"] == 8
        await receive_bytes(page)
        await asyncio.sleep(0.2)
        assert finishing.is_alive()  # it is still decoding
        await page.send_json({"type": "ready"})
        await until(lambda: not finishing.is_alive())

    watch(live, look)
    live.finish(small_scene(9))  # nobody looks any more: nothing to wait for


def test_pause_from_the_page_holds_the_training(live: LiveView) -> None:
    assert live.hold() < 0.1
    waited: list[float] = []

    async def look(page: Page) -> None:
        await page.send_json({"type": "pause", "value": True})
        while not (await receive(page, "state"))["paused"]:
            pass
        assert live.paused
        thread = threading.Thread(target=lambda: waited.append(live.hold()))
        thread.start()
        await asyncio.sleep(0.3)
        assert not waited
        await page.send_json({"type": "pause", "value": False})
        await until(lambda: bool(waited))
        thread.join()
        while (await receive(page, "state"))["paused"]:
            pass

    watch(live, look)
    assert 0.25 < waited[0] < 10


def test_ctrl_c_ends_a_pause(live: LiveView) -> None:
    live.pause(True)
    cancelled = threading.Event()
    threading.Timer(0.2, cancelled.set).start()
    assert live.hold(cancelled.is_set) >= 0.15


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "5", '{"type": 3}', '{"type": "pause"}', '{"type": "pause", "value": 1}', "[" * 3000, "x" * 5000],
)
def test_nonsense_from_a_page_ends_its_connection(live: LiveView, text: str) -> None:
    async def look(page: Page) -> None:
        await receive(page, "state")
        await page.send_str(text)
        while not (await page.receive()).type.name.startswith("CLOS"):
            pass

    watch(live, look)
    assert not live.paused
    watch(live, lambda page: receive(page, "state"))  # others go on


def test_dashboard_and_page_pause_together() -> None:
    live = LiveView(0, min_seconds=0.0)
    try:
        assert live.dashboard_url is not None and live.dashboard_url != live.url
        assert live._dashboard is not None
        live.pause(True)
        assert live._dashboard._pause.value
        live._dashboard._pause.value = False
        end = time.monotonic() + 5
        while live.paused and time.monotonic() < end:
            time.sleep(0.01)
        assert not live.paused
    finally:
        live.stop()
