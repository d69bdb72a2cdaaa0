"""The page behind its own server, and what other pages in the same browser can do to it: nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rendered_capture import photograph_scene, ring, small_scene

from scenerep.io.scene_files import read_scene, write_scene
from scenerep.viewer import PageServer, Surroundings, offer_scene
from scenerep.viewer.live_feed import LiveFeed

if TYPE_CHECKING:
    from conftest import Site
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    folder = tmp_path_factory.mktemp("served")
    files = []
    for name, count in (("a.srz", 300), ("b.ply", 200)):
        write_scene(small_scene(count, seed=count, degree=2), folder / name)
        files.append(folder / name)
    capture = photograph_scene(folder / "capture", small_scene(300, seed=300, degree=2), ring(6))
    converted = folder / "converted"
    converted.mkdir()
    offers = [offer_scene(file, read_scene(file), converted) for file in files]
    running = PageServer(offers, Surroundings("two scenes", (0.0, 0.0, 0.0), capture), port=0)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def watched() -> Iterator[PageServer]:
    """One with a websocket."""
    running = PageServer((), port=0, live=LiveFeed(lambda value: None, most=10))
    yield running
    running.stop()


def complete(page: Page, scenes: int) -> dict[str, Any]:
    """The page's statistics once so many scenes are there."""
    page.wait_for_function(
        """(n) => window.scenerep && window.scenerep.stats().scenes.length === n
            && window.scenerep.stats().scenes.every((s) => s.complete && s.drawn > 0)""",
        arg=scenes,
    )
    return page.evaluate("window.scenerep.stats()")


def test_page_works_under_its_own_policy(page: Page, server: PageServer) -> None:
    """Any violation is logged as an error, which fails the test."""
    page.set_viewport_size({"width": 400, "height": 300})
    page.goto(server.url)
    stats = complete(page, 2)
    assert [(scene["name"], scene["format"], scene["splats"]) for scene in stats["scenes"]] == [
        ("a.srz", "srz", 300),
        ("b.ply", "ply", 200),
    ]
    assert all(scene["received"] == scene["bytes"] for scene in stats["scenes"])
    assert stats["mode"] == "split" and page.title().startswith("two scenes")
    pixels = page.evaluate(
        "window.scenerep.capture({ width: 64, height: 48 }).then((p) => Math.max(...p.filter((_, i) => i % 4 < 3)))"
    )
    assert pixels > 30


def test_page_opens_the_scene_that_the_address_names(page: Page, server: PageServer) -> None:
    page.goto(server.url)
    key = page.evaluate("fetch('scenes.json').then((r) => r.json()).then((told) => told.scenes[1].id)")
    page.goto(f"{server.url}/?scene={key}&stats=1")
    assert complete(page, 1)["scenes"][0]["splats"] == 200


def test_the_policy_holds(page: Page, server: PageServer, site: Site, tolerated: list[str]) -> None:
    tolerated += ["Content Security Policy", "Refused to", "violates the following"]
    page.goto(server.url)
    complete(page, 2)
    blocked = page.evaluate(
        """async (foreign) => {
          window.ran = false;
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          const image = new Image();
          const loaded = new Promise((resolve) => {
            image.onload = () => resolve(true);
            image.onerror = () => resolve(false);
          });
          image.src = foreign + "/icon.svg";
          const fetched = await fetch(foreign + "/blank.html", { mode: "no-cors" }).then(() => true, () => false);
          return { ran: window.ran, fetched, image: await loaded };
        }""",
        site.url,
    )
    assert blocked == {"ran": False, "fetched": False, "image": False}


def test_other_pages_cannot_read_or_embed(page: Page, server: PageServer, site: Site, tolerated: list[str]) -> None:
    tolerated += ["blocked by CORS", "Failed to load resource", "ERR_BLOCKED_BY", "frame-ancestors", "403", "Framing"]
    page.goto(f"{site.url}/blank.html")
    got = page.evaluate(
        """async (server) => {
          const attempt = (promise) => promise.then((x) => x, () => "refused");
          const out = {};
          out.json = await attempt(fetch(server + "/scenes.json").then((r) => r.text()));
          out.opaque = await attempt(fetch(server + "/scenes.json", { mode: "no-cors" }).then((r) => r.type));
          out.post = await attempt(fetch(server + "/scenes.json", { method: "POST", body: "x" }).then((r) => r.text()));
          out.module = await attempt(import(server + "/load/source.js").then(() => "loaded"));
          out.image = await new Promise((resolve) => {
            const image = new Image();
            image.onload = () => resolve("loaded");
            image.onerror = () => resolve("refused");
            image.src = server + "/photo/0";
          });
          return out;
        }""",
        server.url,
    )
    assert got == dict.fromkeys(("json", "opaque", "post", "module", "image"), "refused")
    frame = page.evaluate(
        """(server) => new Promise((resolve) => {
          const frame = document.createElement("iframe");
          frame.onload = () => resolve(frame.contentDocument === null);
          frame.src = server;
          document.body.append(frame);
        })""",
        server.url,
    )
    assert frame is True
    # Chromium shows an error page in its place, which has no canvas.
    with contextlib.suppress(Exception):
        page.wait_for_load_state("networkidle", timeout=2000)
    assert all(child.locator("canvas").count() == 0 for child in page.frames[1:])


def test_other_pages_cannot_open_the_websocket(
    page: Page, watched: PageServer, site: Site, tolerated: list[str]
) -> None:
    tolerated.append("WebSocket connection to .* failed")
    connect = """(address) => new Promise((resolve) => {
      const socket = new WebSocket(address);
      socket.onopen = () => resolve("open");
      socket.onerror = () => resolve("refused");
    })"""
    address = watched.url.replace("http:", "ws:") + "/live"
    page.goto(f"{site.url}/blank.html")
    assert page.evaluate(connect, address) == "refused"
    page.goto(watched.url)
    assert page.evaluate(connect, address) == "open"


def test_a_foreign_name_for_this_machine_leads_nowhere(page: Page, server: PageServer, tolerated: list[str]) -> None:
    """DNS rebinding: *.localhost resolves to loopback in browsers, as an attacker's own name would."""
    tolerated.append("403")
    answer = page.goto(f"http://evil.localhost:{server.port}/scenes.json")
    assert answer is not None and answer.status == 403 and "scenes" not in answer.text()


def test_with_a_token_the_page_works_and_the_address_forgets_it(
    page: Page, tmp_path: Path, tolerated: list[str]
) -> None:
    write_scene(small_scene(100), tmp_path / "a.ply")
    offers = [offer_scene(tmp_path / "a.ply", read_scene(tmp_path / "a.ply"), tmp_path)]
    server = PageServer(offers, port=0, host="0.0.0.0")
    try:
        own = f"http://127.0.0.1:{server.port}"
        tolerated.append("403")
        answer = page.goto(own)
        assert answer is not None and answer.status == 403
        page.goto(f"{own}/?{server.url.partition('?')[2]}")
        assert complete(page, 1)["scenes"][0]["splats"] == 100
        assert "token" not in page.url
        assert page.evaluate("document.cookie") == ""  # scripts do not see it
    finally:
        server.stop()
