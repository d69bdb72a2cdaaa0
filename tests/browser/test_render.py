"""The page's renderer against ours in Python, on a synthetic scene and on scenes with known answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import Site, watched_page
from PIL import Image
from splat_scenes import (
    BASE64,
    camera,
    joined,
    numbers,
    one,
    page_camera,
    page_splats,
    psnr,
    straight,
    surfaces,
)

from scenerep.geometry.cameras import Camera
from scenerep.io.ply import PlyOptions
from scenerep.io.scene_files import read_scene, write_scene
from scenerep.render import constants, reference, render
from scenerep.scenes import Gaussians

if TYPE_CHECKING:
    from playwright.sync_api import Page

COUNT = 8000
BACKGROUND = (0.1, 0.25, 0.4)

_BEGIN = f"""async (asked) => {{ {BASE64}
  const {{ Renderer }} = await import("/render/webgl2.js");
  const canvas = document.body.appendChild(document.createElement("canvas"));
  canvas.style = "position: fixed; inset: 0";
  const renderer = new Renderer(canvas, {{ exact: true }});
  renderer.background = asked.background;
  const state = globalThis.state = {{ renderer, canvas, base64 }};
"""
_OPEN = (
    _BEGIN
    + """
  const { openScene } = await import("/load/load.js");
  const { urlSource } = await import("/load/source.js");
  const source = await urlSource(new URL(asked.url, location.href));
  let scene;
  await openScene(source, {
    onHead: (head) => (scene = renderer.createScene(head)),
    onChunk: (chunk) => scene.append(chunk),
    onLayer: ({ gain }) => (scene.gain = gain),
  });
  state.scene = scene;
  return { shType: scene.head.shType, degree: scene.head.degree, antialiased: scene.head.antialiased };
}"""
)
_HAND_OVER = (
    _BEGIN
    + """
  const { head, sh, ...arrays } = asked.splats;
  const chunk = { id: 0, layer: 0, first: 0, count: head.count, shSteps: new Float32Array(6).fill(1) };
  for (const [name, array] of Object.entries(arrays)) chunk[name] = new Float32Array(array);
  chunk.sh = sh && new Float32Array(sh);
  state.scene = renderer.createScene(head);
  state.scene.append(chunk);
}"""
)
_CAPTURE = """async ({ camera, mode, degree, gain }) => {
  const { renderer, scene, base64 } = globalThis.state;
  if (degree !== null) scene.degree = degree;
  if (gain !== null) scene.gain = gain;
  return base64(await renderer.capture(scene, { camera, mode, float: mode === "exact" }));
}"""
_SHOW = """async ({ camera, exact }) => {
  const { renderer, scene, canvas } = globalThis.state;
  Object.assign(canvas, { width: camera.width, height: camera.height });
  renderer.wantsExact = exact;
  const { order } = await scene.sorter.ask(camera.viewFromWorld.slice(8, 12));
  scene.setOrder(order);
  renderer.frame([{ scene }], camera);
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}"""


class Drawn:
    """A scene in the renderer of a page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def hand_over(self, scene: Gaussians) -> None:
        self.page.evaluate(_HAND_OVER, {"splats": page_splats(scene), "background": BACKGROUND})

    def open(self, url: str) -> dict[str, Any]:
        return self.page.evaluate(_OPEN, {"url": url, "background": BACKGROUND})

    def floats(self, seen: Camera, degree: int | None = None, gain: dict[str, float] | None = None) -> np.ndarray:
        """RGBA before rounding, premultiplied, without background."""
        asked = {"camera": page_camera(seen), "mode": "exact", "degree": degree, "gain": gain}
        return numbers(self.page.evaluate(_CAPTURE, asked), np.float32, seen)

    def bytes(self, seen: Camera) -> np.ndarray:
        """RGBA of mode `fast`, over the background."""
        asked = {"camera": page_camera(seen), "mode": "fast", "degree": None, "gain": None}
        return numbers(self.page.evaluate(_CAPTURE, asked), np.uint8, seen)

    def screenshot(self, seen: Camera, exact: bool, file: Path) -> np.ndarray:
        """RGB in [0, 1] of what the browser shows."""
        self.page.evaluate(_SHOW, {"camera": page_camera(seen), "exact": exact})
        clip = {"x": 0, "y": 0, "width": seen.width, "height": seen.height}
        self.page.screenshot(path=file, clip=clip)
        return np.asarray(Image.open(file).convert("RGB")) / 255.0


@pytest.fixture
def drawn(page: Page) -> Drawn:
    return Drawn(page)


def expected(scene: Gaussians, seen: Camera, **options: Any) -> np.ndarray:
    """[h, w, 4] premultiplied, by our renderer."""
    out = render(scene, seen, **options)
    return np.dstack([out.rgb, out.alpha])


def over(picture: np.ndarray) -> np.ndarray:
    return picture[..., :3] + (1 - picture[..., 3:]) * np.array(BACKGROUND)


def test_constants_are_those_of_python(page: Page) -> None:
    found = page.evaluate('async () => ({ ...(await import("/render/constants.js")) })')
    assert found == {name: getattr(constants, name) for name in found}
    assert set(found) >= {"LOW_PASS", "ALPHA_MAX", "ALPHA_MIN", "NEAR", "FAR", "CLAMP"}


@pytest.fixture(scope="module")
def shared(chromium: Any, site: Site) -> Iterator[Callable[[str], tuple[Drawn, Gaussians]]]:
    """The scene of a file with that name, in a page and as Python reads it; each is opened once."""
    pages, opened = [], {}

    def get(name: str) -> tuple[Drawn, Gaussians]:
        if name not in opened:
            file = site.files / name
            write_scene(surfaces(COUNT, antialiased="antialiased" in name), file)
            pages.append(watched_page(chromium, site))
            drawn = Drawn(next(pages[-1]))
            assert drawn.open(f"/files/{name}")["degree"] == 3
            opened[name] = (drawn, read_scene(file))
        return opened[name]

    yield get
    for page in pages:
        assert list(page) == []  # runs its end, which fails on logged errors


@pytest.fixture
def unstopped(monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray]:
    """`expected` by the reference, whose pixels never stop: blending from the back to the front cannot stop either."""

    def draw(scene: Gaussians, seen: Camera) -> np.ndarray:
        monkeypatch.setattr(reference, "TRANSMITTANCE_STOP", 0.0)
        return expected(scene, seen, backend="reference")

    return draw


@pytest.mark.parametrize("fov_deg", [35.0, 80.0])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("name", ["floats.ply", "integers.srz"])
def test_pictures_are_those_of_our_renderer(
    shared: Callable, unstopped: Callable, name: str, which: int, fov_deg: float
) -> None:
    drawn, scene = shared(name)
    seen = camera(which, fov_deg=fov_deg)
    truth = expected(scene, seen)
    assert truth[..., 3].mean() > 0.15
    found = drawn.floats(seen)
    assert psnr(found, truth) >= 65
    assert np.abs(found - truth).max() <= 8 / 255
    # All that is left is rounding, and a pixel whose alpha lies at the threshold.
    assert psnr(found, unstopped(scene, seen)) >= 90


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["floats.ply", "integers.srz"])
def test_lower_sh_degrees(shared: Callable, name: str, degree: int) -> None:
    drawn, scene = shared(name)
    found = drawn.floats(camera(1), degree=degree)
    drawn.page.evaluate("() => { state.scene.degree = 3; }")
    assert psnr(found, expected(scene, camera(1), sh_degree=degree)) >= 65
    if degree < 3:
        assert psnr(found, expected(scene, camera(1))) < 50, "the degree made no difference"


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("ending", ["ply", "srz"])
def test_files_of_lower_sh_degree(drawn: Drawn, site: Site, degree: int, ending: str) -> None:
    file = site.files / f"degree{degree}.{ending}"
    write_scene(surfaces(2000, degree=degree), file, options=PlyOptions(all_bands=False) if ending == "ply" else None)
    head = drawn.open(f"/files/{file.name}")
    assert head == {"shType": "int16" if ending == "srz" else "float32", "degree": degree, "antialiased": False}
    assert psnr(drawn.floats(camera(0)), expected(read_scene(file), camera(0))) >= 65


def test_antialiased_scenes(shared: Callable) -> None:
    drawn, scene = shared("antialiased.srz")
    assert scene.antialiased
    far = camera(0, fov_deg=100.0)
    assert psnr(drawn.floats(far), expected(scene, far)) >= 65


def test_layer_gain(shared: Callable, unstopped: Callable) -> None:
    """Fewer splats stand for all while layers are missing: larger and more opaque."""
    drawn, scene = shared("floats.ply")
    gain = {"logScale": 0.25, "opacity": 1.3}
    found = drawn.floats(camera(0), gain=gain)
    drawn.page.evaluate("() => { state.scene.gain = { logScale: 0, opacity: 1 }; }")
    opacity = np.clip(1.3 / (1 + np.exp(-scene.opacity_logits.astype(np.float64))), 1 / 1024, 1 - 1 / 1024)
    arrays = scene.arrays() | {
        "log_scales": scene.log_scales + 0.25,
        "opacity_logits": np.log(opacity) - np.log1p(-opacity),
    }
    assert psnr(found, unstopped(Gaussians(**arrays), camera(0))) >= 90


def test_what_the_screen_shows(shared: Callable, unstopped: Callable, tmp_path: Path) -> None:
    drawn, scene = shared("floats.ply")
    for which in range(3):
        seen = camera(which)
        truth = np.clip(over(expected(scene, seen)), 0, 1)
        assert psnr(drawn.screenshot(seen, False, tmp_path / "fast.png"), truth) >= 50
        exact = drawn.screenshot(seen, True, tmp_path / "exact.png")
        whole = np.clip(over(unstopped(scene, seen)), 0, 1)
        assert np.abs(255 * exact - np.round(255 * whole)).max() <= 1
        rounded = drawn.bytes(seen)
        assert (rounded[..., 3] == 255).all() and psnr(rounded[..., :3] / 255, truth) >= 50


def test_a_gpu_that_cannot_blend_floats(shared: Callable, tmp_path: Path) -> None:
    """Every splat rounds to 8 bits; up close many lie over one another."""
    drawn, scene = shared("floats.ply")
    swap = "() => { [state.renderer.halfFormat, state.half] = [state.half ?? null, state.renderer.halfFormat]; }"
    drawn.page.evaluate(swap)
    try:
        for which, least in enumerate((48, 48, 45)):
            truth = np.clip(over(expected(scene, camera(which))), 0, 1)
            shown = drawn.screenshot(camera(which), False, tmp_path / "fast.png")
            rounded = drawn.bytes(camera(which))
            assert (rounded[..., 3] == 255).all()
            assert least <= psnr(rounded[..., :3] / 255, truth) < 55 and psnr(shown, truth) >= least
    finally:
        drawn.page.evaluate(swap)


def test_swiftshader_draws_the_same(launch: Callable[[str], Any], site: Site) -> None:
    scene = surfaces(2000)
    write_scene(scene, site.files / "swift.ply")
    for page in watched_page(launch("swiftshader"), site):
        drawn = Drawn(page)
        drawn.open("/files/swift.ply")
        assert psnr(drawn.floats(camera(0)), expected(scene, camera(0))) >= 65


# --- scenes with known answers


def test_one_round_splat(drawn: Drawn) -> None:
    """alpha = opacity exp(-r^2 / 2 (s^2 + 0.3)), s = f sigma / z = 5 px, about the middle."""
    drawn.hand_over(one(opacity=0.8))
    seen = straight()
    found = drawn.floats(seen)
    v, u = np.mgrid[: seen.height, : seen.width]
    squared = (u - 48.0) ** 2 + (v - 32.0) ** 2
    # Off the axis a sphere is a little longer than wide; in the middle it is not.
    alpha = 0.8 * np.exp(-0.5 * squared / (25 + constants.LOW_PASS))
    alpha[alpha < constants.ALPHA_MIN] = 0
    near = np.abs(alpha - constants.ALPHA_MIN) > 1e-4
    assert np.abs(found[..., 3] - alpha)[near].max() <= 1e-4
    assert np.abs(found[..., :3] - alpha[..., None] * [0.9, 0.5, 0.2])[near].max() <= 1 / 255
    assert tuple(np.unravel_index(found[..., 3].argmax(), alpha.shape)) == (32, 48)


@pytest.mark.parametrize("turn_deg", [45.0, -45.0, 20.0])
def test_thin_ellipse_is_turned_the_right_way(drawn: Drawn, turn_deg: float) -> None:
    """A mirrored axis of the quad leaves only what the ellipse has in common with its mirror image."""
    half = math.radians(turn_deg) / 2
    thin = one(scales=(0.4, 0.01, 0.01), quat=(math.cos(half), 0.0, 0.0, math.sin(half)))
    flat = one(scales=(0.4, 0.01, 0.01))
    drawn.hand_over(thin)
    seen = straight((96, 96))
    found = drawn.floats(seen)[..., 3]
    assert np.abs(found - expected(thin, seen)[..., 3]).max() <= 1e-3
    # The same area as the ellipse that lies flat, whatever the angle.
    assert found.sum() == pytest.approx(expected(flat, seen)[..., 3].sum(), rel=0.02)
    # x right and y down: a positive turn about z leads from +x to +y.
    v, u = np.mgrid[:96, :96] - 48.0
    moment = (found * u * v).sum()
    assert moment * turn_deg > 0


@pytest.mark.parametrize("swapped", [False, True])
def test_two_splats_blend_by_depth(drawn: Drawn, swapped: bool) -> None:
    near = one((0, 0, 2), (0.1,) * 3, 0.6, (1, 0, 0))
    far = one((0, 0, 4), (0.2,) * 3, 0.7, (0, 1, 0))
    drawn.hand_over(joined(*((far, near) if swapped else (near, far))))
    middle = drawn.floats(straight())[32, 48]
    assert middle == pytest.approx([0.6, 0.4 * 0.7, 0, 1 - 0.4 * 0.3], abs=1e-4)


def test_what_is_behind_or_beside_draws_nothing(drawn: Drawn) -> None:
    hidden = [
        one((0, 0, -4)),
        one((0, 0, 0)),
        one((0, 0, 0.005)),
        one((50, 0, 4)),
        one((0, 0, 2e10)),
        one(opacity=1e-3),
    ]
    drawn.hand_over(joined(*hidden))
    assert (drawn.floats(straight()) == 0).all()
    assert (drawn.bytes(straight())[..., :3] == np.round(255 * np.array(BACKGROUND))).all()


def test_opacity_is_capped(drawn: Drawn) -> None:
    drawn.hand_over(one(opacity=0.99999))
    assert drawn.floats(straight())[32, 48, 3] == pytest.approx(constants.ALPHA_MAX, abs=1e-6)


def test_each_sh_coefficient(drawn: Drawn) -> None:
    """One coefficient a splat, in a grid; six directions, since each camera sees only one of each."""
    k = 16
    spots = np.stack([np.arange(k) % 4 - 1.5, np.arange(k) // 4 - 1.5, np.zeros(k)], 1)
    sh = np.zeros((k, k, 3))
    sh[:, 0] = 1.2
    sh[np.arange(k), np.arange(k)] += [0.5, -0.4, 0.3]
    scene = Gaussians(spots, np.full((k, 3), -1.6), np.tile([1.0, 0, 0, 0], (k, 1)), np.full(k, 3.0), sh)
    drawn.hand_over(scene)
    from scenerep.geometry.poses import look_at

    for eye in ([6, 1, 2], [-6, 2, 1], [1, 6, 2], [2, -6, 1], [1, 2, 6], [2, 1, -6]):
        pose = look_at(np.array(eye, float), np.zeros(3), np.array([0.1, 0.2, 1.0]))
        seen = Camera(100.0, 100.0, 40.0, 40.0, 80, 80, pose)
        assert np.abs(drawn.floats(seen) - expected(scene, seen)).max() <= 1 / 255


# --- the order

_SORT = """async ({ depths }) => {
  const { sortByDepth } = await import("/render/depth_sort.js");
  const indices = Uint32Array.from(depths, (_, i) => 2 * i);
  return [...sortByDepth(new Float32Array(depths), indices, depths.length)];
}"""


@pytest.mark.parametrize("n", [0, 1, 2, 5000])
def test_exact_order(page: Page, n: int) -> None:
    """The farthest first; of equal depths the higher index first."""
    r = np.random.default_rng(n)
    depths = np.concatenate([r.lognormal(0, 4, n - n // 3), r.integers(1, 5, n // 3)]).astype(np.float32)
    found = page.evaluate(_SORT, {"depths": depths.tolist()})
    assert found == (2 * np.lexsort((-np.arange(n), -depths))).tolist()


def test_depths_outside_the_range_are_left_out(page: Page) -> None:
    found = page.evaluate("""async () => {
      const { depthsOf } = await import("/render/depth_sort.js");
      const scratch = { depths: new Float32Array(5), indices: new Uint32Array(5) };
      const means = new Float32Array([0, 0, 1, 0, 0, -1, 0, 0, NaN, 0, 0, 3, 0, 0, 9]);
      const all = depthsOf(means, 5, [0, 0, 2, 1], 0.01, 10, null, scratch);
      const first = [...scratch.indices.slice(0, all)];
      const some = depthsOf(means, 5, [0, 0, 2, 1], 0.01, 10, new Uint32Array([1, 3]), scratch);
      return { first, depths: [...scratch.depths.slice(0, some)], second: [...scratch.indices.slice(0, some)] };
    }""")
    assert found == {"first": [0, 3], "depths": [7], "second": [3]}


@pytest.mark.parametrize("most", [1, 10, 999, 1000, 5000])
def test_budget_keeps_the_most_important(page: Page, most: int) -> None:
    r = np.random.default_rng(2)
    importance = np.concatenate([r.lognormal(0, 3, 700), np.full(300, 1.0)]).astype(np.float32)
    found = page.evaluate(
        """async ({ importance, most }) => {
      const { mostImportant } = await import("/render/depth_sort.js");
      const chosen = mostImportant(new Float32Array(importance), importance.length, most);
      return chosen && [...chosen];
    }""",
        {"importance": importance.tolist(), "most": most},
    )
    if most >= 1000:
        assert found is None
        return
    assert len(found) == most and found == sorted(set(found))
    # Bits below the highest 16 do not count: 1/128 of the value.
    left = np.delete(importance, found)
    assert importance[found].min() >= left.max() * (1 - 1 / 128)


def test_budget_of_a_scene(drawn: Drawn) -> None:
    """Three splats beside one another, of which the two large ones are drawn."""
    scene = joined(one((-0.8, 0, 4)), one((0, 0, 4), (0.05,) * 3), one((0.8, 0, 4)))
    drawn.hand_over(scene)
    drawn.page.evaluate("() => state.scene.setBudget(2)")
    seen = straight()
    assert np.abs(drawn.floats(seen) - expected(scene.select(np.array([0, 2])), seen)).max() <= 1e-4
    drawn.page.evaluate("() => state.scene.setBudget(Infinity)")
    assert np.abs(drawn.floats(seen) - expected(scene, seen)).max() <= 1e-4


def test_crop_box_of_a_scene(drawn: Drawn) -> None:
    scene = joined(one((-0.8, 0, 4)), one((0, 0, 4)), one((0.8, 0, 4)))
    drawn.hand_over(scene)
    drawn.page.evaluate("() => { state.scene.box = [-1, -1, 3, 0.2, 1, 5]; }")
    seen = straight()
    assert np.abs(drawn.floats(seen) - expected(scene.select(np.array([0, 1])), seen)).max() <= 1e-4
