"""The page as a user meets it: opening, moving, addresses, keys, accessibility, embedding."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import Site, watched_page
from splat_scenes import psnr, python_camera, surfaces
from viewer_page import NO_SCENES, SIZE, capture, eye, open_scene, open_viewer, pose, ready, settle, small_page, until

from scenerep.io.scene_files import read_scene, write_scene
from scenerep.render import render

if TYPE_CHECKING:
    from playwright.sync_api import Page

COUNT = 1500
MIDDLE = (240, 220)


@pytest.fixture(scope="module")
def files(site: Site) -> Path:
    for ending in ("srz", "ply", "compressed.ply", "spz", "sog", "splat"):
        write_scene(surfaces(COUNT, degree=1), site.files / f"page.{ending}")
    return site.files


@pytest.fixture
def page(chromium: Any, site: Site, files: Path, tolerated: list[str]) -> Iterator[Page]:
    yield from small_page(chromium, site, tolerated)


@pytest.fixture
def viewer(page: Page, site: Site) -> Page:
    open_scene(page, f"{site.url}/index.html?scene=files/page.srz")
    return page


def test_without_a_scene_it_invites(page: Page, site: Site) -> None:
    open_viewer(page, f"{site.url}/index.html")
    page.get_by_role("button", name="Choose a file").wait_for()
    assert page.evaluate("() => [scenerep.stats().scenes.length, scenerep.ready()]") == [0, False]


_DROP = """async ({ files }) => {
  const transfer = new DataTransfer();
  for (const { name, data } of files) {
    transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
  }
  const canvas = document.getElementById("view");
  for (const type of ["dragenter", "dragover", "drop"]) {
    canvas.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}"""


def drop(page: Page, *files: Path) -> None:
    data = [{"name": f.name, "data": base64.b64encode(f.read_bytes()).decode()} for f in files]
    page.evaluate(_DROP, {"files": data})


@pytest.mark.parametrize("ending", ["srz", "ply", "compressed.ply", "spz", "sog", "splat"])
def test_every_format_opens_by_drop_and_by_choice(page: Page, site: Site, files: Path, ending: str) -> None:
    open_viewer(page, f"{site.url}/index.html")
    file = files / f"page.{ending}"
    drop(page, file)
    ready(page)
    (told,) = page.evaluate("() => scenerep.stats().scenes")
    assert told["name"] == file.name and told["format"] == ("ply" if ending == "ply" else ending)
    assert told["splats"] == told["loaded"] == COUNT and told["bytes"] == file.stat().st_size
    seen = page.evaluate("() => scenerep.camera()")
    truth = render(read_scene(file), python_camera(seen)).rgb
    assert truth.mean() > 0.02
    found = capture(page, width=seen["width"], height=seen["height"])
    assert psnr(found[..., :3] / 255.0, np.clip(truth, 0, 1)) >= 48
    page.set_input_files("#file", files / "page.ply")
    until(page, "() => scenerep.ready() && scenerep.stats().scenes[0].name === 'page.ply'")


def test_two_files_are_compared(page: Page, site: Site, files: Path) -> None:
    open_viewer(page, f"{site.url}/index.html")
    drop(page, files / "page.srz", files / "page.ply", files / "page.spz")
    ready(page)
    until(page, "() => scenerep.stats().mode === 'split'")
    assert page.evaluate("() => scenerep.stats().scenes.map((s) => s.name)") == ["page.srz", "page.ply"]
    assert "Two files at most" in page.inner_text("#messages")


@pytest.mark.parametrize("broken", ["nonsense", "cut", "empty"])
def test_the_message_names_the_broken_file(page: Page, site: Site, files: Path, tmp_path: Path, broken: str) -> None:
    whole = (files / "page.ply").read_bytes()
    bad = tmp_path / "broken.ply"
    bad.write_bytes({"nonsense": b"what" * 100, "cut": whole[: len(whole) // 2], "empty": b""}[broken])
    open_viewer(page, f"{site.url}/index.html")
    drop(page, bad)
    page.get_by_role("alert").wait_for()
    assert "broken.ply" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="Choose a file").wait_for()
    page.get_by_role("button", name="Close the message").click()
    drop(page, files / "page.srz")
    ready(page)


def test_what_the_address_asks_for(page: Page, site: Site) -> None:
    open_scene(page, f"{site.url}/index.html?scene=files/page.srz&ui=0&stats=1&budget=200&bg=0.2,0.4,1")
    until(page, "() => scenerep.stats().scenes[0].drawn <= 200")
    assert not page.locator("#bar").is_visible()
    away = page.evaluate("() => scenerep.camera()")
    away["viewFromWorld"][11] = -1000.0
    found = capture(page, width=40, height=30, camera=away)
    assert (found == [51, 102, 255, 255]).all()


def test_statistics_are_open_if_asked(page: Page, site: Site) -> None:
    open_scene(page, f"{site.url}/index.html?scene=files/page.srz&stats=1")
    assert page.locator("#stats dl").is_visible() and "bits a splat" in page.inner_text("#stats")
    open_scene(page, f"{site.url}/index.html?scene=files/page.srz")
    assert not page.locator("#stats dl").is_visible()


def test_stats_fields(viewer: Page, files: Path) -> None:
    stats = viewer.evaluate("() => JSON.parse(JSON.stringify(scenerep.stats()))")
    assert stats["size"] == [480, 360] and stats["renderer"] == "webgl2" and stats["mode"] == "first"
    (scene,) = stats["scenes"]
    size = (files / "page.srz").stat().st_size
    assert scene["bytes"] == scene["received"] == size and scene["bitsPerSplat"] == pytest.approx(8 * size / COUNT)
    assert scene["complete"] and scene["shDegree"] == 1 and 0 < scene["drawn"] <= COUNT
    for name in ("decodeMs", "firstMs", "loadMs", "sortMs", "gpuBytes", "layers", "layerCount"):
        assert isinstance(scene[name], int | float), name
    assert scene["firstMs"] <= scene["loadMs"]


def test_pose_in_the_address(viewer: Page, site: Site) -> None:
    viewer.mouse.move(*MIDDLE)
    viewer.mouse.down()
    viewer.mouse.move(300, 250, steps=4)
    viewer.mouse.up()
    settle(viewer)
    until(viewer, "() => location.hash.length > 10")
    before = pose(viewer)
    address = viewer.url
    viewer.goto("about:blank")
    open_scene(viewer, address)
    assert np.abs(pose(viewer) - before).max() <= 1e-5
    viewer.evaluate("() => { location.hash = 'p=1,2,3&q=0.5,0.5,0.5,0.5&d=2&f=60'; }")
    settle(viewer)
    assert eye(viewer) == pytest.approx([1, 2, 3], abs=1e-5)


def test_pose_through_a_photographs_lens_in_the_address(viewer: Page) -> None:
    """On a narrow screen a wide photograph is fitted to the width: the address has to know."""
    viewer.set_viewport_size({"width": 240, "height": 400})
    settle(viewer)
    camera = {"width": 640, "height": 360, "fx": 500, "fy": 510, "cx": 330, "cy": 170}
    camera["world_from_camera"] = [[1, 0, 0, 0.1], [0, 1, 0, -0.2], [0, 0, 1, -4]]
    viewer.evaluate("(camera) => scenerep.lookThrough(camera)", camera)
    before = viewer.evaluate("() => scenerep.camera()")
    hashed = viewer.evaluate("() => scenerep.pose()")
    viewer.evaluate("() => scenerep.setPose('p=0,0,-9&q=1,0,0,0&d=2&f=60')")
    assert viewer.evaluate("(hash) => scenerep.setPose(hash)", hashed)
    after = viewer.evaluate("() => scenerep.camera()")
    for name in ("fx", "fy", "cx", "cy", "viewFromWorld"):
        assert after[name] == pytest.approx(before[name], rel=1e-5, abs=1e-5), name


# --- moving


def target(page: Page, distance: float) -> np.ndarray:
    return eye(page) + distance * pose(page)[2, :3]


def pose_distance(page: Page) -> float:
    return float(dict(part.split("=") for part in page.evaluate("() => scenerep.pose()").split("&"))["d"])


def test_drag_orbits(viewer: Page) -> None:
    before, distance = eye(viewer), pose_distance(viewer)
    middle = target(viewer, distance)
    viewer.mouse.move(*MIDDLE)
    viewer.mouse.down()
    viewer.mouse.move(MIDDLE[0] + 60, MIDDLE[1] + 10, steps=3)
    viewer.mouse.up()
    settle(viewer)
    assert np.linalg.norm(eye(viewer) - before) > 0.1 * distance
    assert target(viewer, pose_distance(viewer)) == pytest.approx(middle, abs=1e-4)
    assert pose_distance(viewer) == pytest.approx(distance, rel=1e-6)


@pytest.mark.parametrize("how", ["right", "shift"])
def test_pan_follows_the_pointer(viewer: Page, how: str) -> None:
    before, distance = pose(viewer), pose_distance(viewer)
    middle = target(viewer, distance)
    viewer.mouse.move(*MIDDLE)
    if how == "shift":
        viewer.keyboard.down("Shift")
    viewer.mouse.down(button="right" if how == "right" else "left")
    viewer.mouse.move(MIDDLE[0] + 50, MIDDLE[1] - 20, steps=3)
    viewer.mouse.up(button="right" if how == "right" else "left")
    viewer.keyboard.up("Shift")
    settle(viewer)
    assert pose(viewer)[:3, :3] == pytest.approx(before[:3, :3], abs=1e-6)
    seen = viewer.evaluate("() => scenerep.camera()")
    x, y, z = pose(viewer)[:3, :3] @ middle + pose(viewer)[:3, 3]
    moved = np.array([seen["fx"] * x / z + seen["cx"] - 240, seen["fy"] * y / z + seen["cy"] - 180])
    assert moved == pytest.approx([50, -20], abs=0.5)


def test_wheel_zooms(viewer: Page) -> None:
    distance = pose_distance(viewer)
    middle = target(viewer, distance)
    viewer.mouse.move(*MIDDLE)
    viewer.mouse.wheel(0, -300)
    settle(viewer)
    assert pose_distance(viewer) < 0.8 * distance
    assert target(viewer, pose_distance(viewer)) == pytest.approx(middle, abs=1e-4)


@pytest.mark.parametrize(
    ("key", "axis", "sign"), [("w", 2, 1), ("s", 2, -1), ("a", 0, -1), ("d", 0, 1), ("q", 1, 1), ("e", 1, -1)]
)
def test_keys_move(viewer: Page, key: str, axis: int, sign: int) -> None:
    before, m = eye(viewer), pose(viewer)
    viewer.focus("#view")
    viewer.keyboard.down(key)
    until(viewer, "(before) => scenerep.pose() !== before", viewer.evaluate("() => scenerep.pose()"))
    viewer.keyboard.up(key)
    settle(viewer)
    moved = m[:3, :3] @ (eye(viewer) - before)
    assert sign * moved[axis] > 0 and np.abs(np.delete(moved, axis)).max() < 1e-5


@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowUp", "+", "-"])
def test_keys_turn_and_zoom(viewer: Page, key: str) -> None:
    before, distance = pose(viewer), pose_distance(viewer)
    viewer.focus("#view")
    viewer.keyboard.down(key)
    until(viewer, "(before) => scenerep.pose() !== before", viewer.evaluate("() => scenerep.pose()"))
    viewer.keyboard.up(key)
    settle(viewer)
    turned = np.abs(pose(viewer)[:3, :3] - before[:3, :3]).max()
    assert (turned > 1e-4) == key.startswith("Arrow")
    if key in "+-":
        assert (pose_distance(viewer) < distance) == (key == "+")


def test_reset(viewer: Page) -> None:
    before = pose(viewer)
    viewer.mouse.move(*MIDDLE)
    viewer.mouse.wheel(0, 400)
    settle(viewer)
    assert np.abs(pose(viewer) - before).max() > 0.1
    viewer.keyboard.press("r")
    settle(viewer)
    assert pose(viewer) == pytest.approx(before, abs=1e-6)


def test_double_click_goes_to_what_is_there(viewer: Page, files: Path) -> None:
    seen = viewer.evaluate("() => scenerep.camera()")
    scene = read_scene(files / "page.srz")
    depth = render(scene, python_camera(seen), median_depth=True).median_depth
    assert depth is not None
    v, u = np.unravel_index(np.where(depth > 0, depth, np.inf).argmin(), depth.shape)
    z = depth[v, u]
    local = np.array([(u + 0.5 - seen["cx"]) / seen["fx"] * z, (v + 0.5 - seen["cy"]) / seen["fy"] * z, z])
    m = pose(viewer)
    point = m[:3, :3].T @ (local - m[:3, 3])
    viewer.mouse.dblclick(u + 0.5, v + 0.5)
    settle(viewer)
    assert np.linalg.norm(target(viewer, pose_distance(viewer)) - point) < 0.25
    assert pose_distance(viewer) < float(np.linalg.norm(local))


def test_touch(chromium: Any, site: Site, files: Path) -> None:
    """One finger turns, two fingers zoom."""
    for page in watched_page(chromium, site, [NO_SCENES], viewport=SIZE, has_touch=True, reduced_motion="reduce"):
        open_scene(page, f"{site.url}/index.html?scene=files/page.srz")
        session = page.context.new_cdp_session(page)

        def touch(kind: str, *points: tuple[float, float], session: Any = session) -> None:
            at = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

        before, distance = pose(page), pose_distance(page)
        touch("touchStart", (200, 200))
        for x in (220, 250, 280):
            touch("touchMove", (x, 205))
        touch("touchEnd")
        settle(page)
        assert np.abs(pose(page)[:3, :3] - before[:3, :3]).max() > 0.05
        assert pose_distance(page) == pytest.approx(distance, rel=1e-6)
        touch("touchStart", (200, 200), (280, 200))
        for step in (10, 20, 40):
            touch("touchMove", (200 - step, 200), (280 + step, 200))
        touch("touchEnd")
        settle(page)
        assert pose_distance(page) == pytest.approx(distance / 2, rel=0.02)


# --- the canvas


def test_resize(viewer: Page) -> None:
    viewer.set_viewport_size({"width": 300, "height": 500})
    until(viewer, "() => scenerep.stats().size.join() === '300,500'")


def test_two_device_pixels_a_pixel(chromium: Any, site: Site, files: Path) -> None:
    for page in watched_page(chromium, site, [NO_SCENES], viewport=SIZE, device_scale_factor=2):
        open_scene(page, f"{site.url}/index.html?scene=files/page.srz")
        until(page, "() => scenerep.stats().size.join() === '960,720'")
        seen = page.evaluate("() => scenerep.camera()")
        assert (seen["width"], seen["height"]) == (960, 720)


def test_capture_is_upright_and_of_any_size(viewer: Page, files: Path) -> None:
    scene = read_scene(files / "page.srz")
    for width, height in [(321, 123), (64, 200)]:
        camera = viewer.evaluate("() => scenerep.camera()") | {"width": width, "height": height}
        camera |= {"fx": 100, "fy": 110, "cx": width / 2 + 7, "cy": height / 2 - 5}
        truth = np.clip(render(scene, python_camera(camera)).rgb, 0, 1)
        found = capture(viewer, width=width, height=height, camera=camera)
        assert psnr(found[..., :3] / 255.0, truth) >= 48 and psnr(found[::-1, :, :3] / 255.0, truth) < 40
        fast = capture(viewer, width=width, height=height, camera=camera, mode="fast")
        assert psnr(fast[..., :3] / 255.0, truth) >= 45


def test_capture_beyond_the_limit_is_refused(viewer: Page) -> None:
    shown = viewer.screenshot()
    message = viewer.evaluate("() => scenerep.capture({ width: 1e6, height: 2 }).catch((error) => error.message)")
    assert "1000000 x 2" in message
    assert viewer.screenshot() == shown


def test_a_file_that_breaks_off_midway_leaves_no_progress_bar(page: Page, site: Site, files: Path) -> None:
    data = bytearray((files / "page.srz").read_bytes())
    data[-1] ^= 1
    (files / "broken.srz").write_bytes(data)
    open_viewer(page, f"{site.url}/index.html?scene=files/broken.srz")
    page.get_by_role("alert").wait_for()
    assert "broken.srz" in page.get_by_role("alert").inner_text()
    assert not page.locator("#progress").is_visible()


def test_lost_context_comes_back(viewer: Page, tolerated: list[str]) -> None:
    tolerated.append("CONTEXT_LOST")
    before = capture(viewer, width=160, height=120)
    shown = viewer.screenshot()
    viewer.evaluate("""async () => {
      const gl = document.getElementById("view").getContext("webgl2");
      const event = (name) => new Promise((resolve) => gl.canvas.addEventListener(name, resolve, { once: true }));
      const extension = gl.getExtension("WEBGL_lose_context");
      const lost = event("webglcontextlost");
      extension.loseContext();
      await lost;
      await new Promise((resolve) => setTimeout(resolve, 50));
      const restored = event("webglcontextrestored");
      extension.restoreContext();
      await restored;
    }""")
    settle(viewer)
    assert (capture(viewer, width=160, height=120) == before).all()
    assert viewer.screenshot() == shown


_COUNT_WORK = """async () => {
  const { WebGl2Scene } = await import("/render/webgl2_scene.js");
  const work = (globalThis.work = { appended: [], together: 0 });
  const { append } = WebGl2Scene.prototype;
  const { port1, port2 } = new MessageChannel();
  let inThisTask = 0;
  port1.onmessage = () => (inThisTask = 0);
  WebGl2Scene.prototype.append = function (chunk) {
    if (inThisTask++ > 0) work.together++;
    work.appended.push(chunk.count);
    append.call(this, chunk);
    port2.postMessage(null); // comes in the next task
  };
}"""


def test_large_scenes_are_taken_in_small_tasks(page: Page, site: Site) -> None:
    """No task of the page's thread holds more than one piece of 16,384 splats."""
    write_scene(surfaces(50_000, degree=0), site.files / "large.srz")
    open_viewer(page, f"{site.url}/index.html")
    page.evaluate(_COUNT_WORK)
    page.evaluate("() => scenerep.open('files/large.srz')")
    ready(page)
    work = page.evaluate("() => work")
    assert sorted(work["appended"]) == [50_000 - 3 * 16384, 16384, 16384, 16384]
    assert work["together"] == 0


# --- other pages, other users


def test_messages_of_the_own_origin_are_answered(viewer: Page) -> None:
    answer = viewer.evaluate("""() => new Promise((resolve) => {
      addEventListener("message", ({ data }) => data.scenerep === "answer" && resolve(data));
      postMessage({ scenerep: "stats", id: 7 }, location.origin);
    })""")
    assert answer["id"] == 7 and answer["result"]["scenes"][0]["name"] == "page.srz"
    viewer.evaluate("""() => postMessage({ scenerep: "open", argument: ["files/page.ply", 1] }, location.origin)""")
    until(viewer, "() => scenerep.ready() && scenerep.stats().scenes[1]?.name === 'page.ply'")


@pytest.mark.parametrize("named", [False, True])
def test_foreign_pages_are_heard_only_if_named(page: Page, site: Site, named: bool) -> None:
    """`localhost` is another origin than 127.0.0.1."""
    foreign = site.url.replace("127.0.0.1", "localhost")
    page.goto(f"{foreign}/blank.html")
    inner = f"{site.url}/index.html?scene=files/page.srz" + (f"&parent={foreign}" if named else "")
    found = page.evaluate(
        """async (url) => {
      const frame = document.body.appendChild(document.createElement("iframe"));
      frame.src = url;
      await new Promise((resolve) => (frame.onload = resolve));
      const answers = [];
      addEventListener("message", ({ data }) => answers.push(data));
      for (let i = 0; i < 20; i++) {
        frame.contentWindow.postMessage({ scenerep: "pose", id: i }, "*");
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return answers;
    }""",
        inner,
    )
    assert bool(found) == named
    assert all(answer["scenerep"] == "answer" and answer["result"].startswith("p=") for answer in found)


def test_all_controls_have_names(viewer: Page) -> None:
    names = []
    for key in ("v", "c", "p", "m", "x", "g", "?"):
        viewer.keyboard.press(key)
        names += viewer.evaluate("""() => [...document.querySelectorAll("button, input, select, [role=slider], canvas")]
          .filter((e) => e.checkVisibility())
          .map((e) => [e.outerHTML.slice(0, 120), e.getAttribute("aria-label") || e.labels?.[0]?.textContent
            || e.textContent.trim() || e.title || ""])""")
    assert len(names) > 60 and [html for html, name in names if not name] == []


def test_keyboard_alone(viewer: Page) -> None:
    """Tab reaches every tool, Enter opens it, Escape closes it and gives the keys back to the scene."""
    reached = set()
    viewer.focus("#view")
    for _ in range(14):
        viewer.keyboard.press("Tab")
        reached.add(viewer.evaluate("() => document.activeElement.getAttribute('aria-label') ?? ''"))
    assert reached >= {"Open", "Cameras", "Compare", "Path", "Measure", "Picture", "Settings", "Help"}
    viewer.get_by_role("button", name="Settings").focus()
    viewer.keyboard.press("Enter")
    assert viewer.locator("#panel").is_visible()
    assert viewer.get_by_role("button", name="Settings").get_attribute("aria-expanded") == "true"
    viewer.keyboard.press("Escape")
    assert not viewer.locator("#panel").is_visible()
    assert viewer.evaluate("() => document.activeElement.id") == "view"
