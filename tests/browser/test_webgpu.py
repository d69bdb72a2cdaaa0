"""The WebGPU renderer against WebGL 2 and against our own, in Chromium on a software adapter."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import Site, watched_page
from quantised_scenes import quantised_scene
from render_scenes import make_camera, make_scene
from viewer_page import NO_SCENES, open_scene

from scenerep.coding import decode_file, encode
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import look_at
from scenerep.io.scene_files import write_scene
from scenerep.render import render
from scenerep.scenes import Gaussians

CAMERA = make_camera(160, 112, seed=4)
AHEAD = CAMERA.world_from_camera[:3, 3] + 3.5 * CAMERA.world_from_camera[:3, 2]
BOX = [*(AHEAD - 1.2), *(AHEAD + 1.2)]


@pytest.fixture(scope="module")
def page(launch: Callable[[str], Any], site: Site) -> Iterator[Any]:
    for page in watched_page(launch("webgpu"), site):
        found = page.evaluate("async (url) => (await import(`${url}/tests/webgpu_page.js`)).start()", site.url)
        assert found, "this Chromium gives no WebGPU adapter"
        yield page


def call(page: Any, site: Site, function: str, *arguments: Any) -> Any:
    """A function of webgpu_page.js."""
    script = "async ([url, name, rest]) => (await import(`${url}/tests/webgpu_page.js`))[name](...rest)"
    return page.evaluate(script, [site.url, function, list(arguments)])


def as_json(camera: Camera) -> dict[str, Any]:
    size = {name: getattr(camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy")}
    return size | {"viewFromWorld": camera.camera_from_world.ravel().tolist()}


def numbers(text: str, camera: Camera, dtype: str = "u1") -> np.ndarray:
    """[h, w, 4] in [0, 1]."""
    array = np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(camera.height, camera.width, 4)
    return array.astype(np.float64) / (255 if dtype == "u1" else 1)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.mean((a - b) ** 2), 1e-20)))


def random_scene(count: int, degree: int, seed: int = 0) -> Gaussians:
    arrays = {name: array.numpy() for name, array in make_scene(count, CAMERA, seed=seed, degree=degree).items()}
    return Gaussians(**{name: array.astype(np.float32) for name, array in arrays.items()})


@pytest.fixture(scope="module")
def scenes(site: Site) -> dict[str, Gaussians]:
    """What is in the files d0.ply to d3.ply, sharp.ply and whole.srz of the site."""
    made = {f"d{degree}.ply": random_scene(3000, degree, seed=degree) for degree in range(4)}
    for name, scene in made.items():
        write_scene(scene, site.files / name)
    quantised = quantised_scene(3000, 3, 2, seed=8, depth=8)
    for name, antialiased in (("whole.srz", False), ("sharp.srz", True)):
        data = encode(replace(quantised, antialiased=antialiased))
        (site.files / name).write_bytes(data)
        made[name] = decode_file(data).scene
    return made


def around(scene: Gaussians, azimuth: float, focal: float) -> Camera:
    """A camera that sees most of a scene, from one side."""
    low, high = np.quantile(scene.means, [0.1, 0.9], axis=0)
    middle, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    eye = middle + 2.5 * radius * np.array([np.cos(azimuth), -0.3, np.sin(azimuth)])
    return Camera(focal, focal, 80, 56, 160, 112, look_at(eye, middle, np.array([0.0, -1.0, 0.0])))


def compared(page: Any, site: Site, name: str, camera: Camera, how: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    dtype = "<f4" if how.get("capture", {}).get("float") else "u1"
    pictures = [call(page, site, "picture", which, name, as_json(camera), how) for which in ("webgpu", "webgl2")]
    gpu, gl = (numbers(picture, camera, dtype) for picture in pictures)
    assert gl.std() > 0.02
    return gpu, gl


@pytest.mark.parametrize("name", ["d0.ply", "d1.ply", "d2.ply", "d3.ply", "whole.srz", "sharp.srz"])
def test_pictures_are_those_of_the_native_renderer_and_of_webgl(
    page: Any, site: Site, scenes: dict[str, Gaussians], name: str
) -> None:
    scene = scenes[name]
    cameras = [CAMERA] if name.endswith("ply") else [around(scene, 0.4, 150), around(scene, 2.5, 90)]
    for camera in cameras:
        gpu, gl = compared(page, site, name, camera, {"capture": {"float": True}})
        expected = render(scene, camera)
        assert psnr(gpu[..., :3], expected.rgb) >= 65
        assert psnr(gpu, gl) >= 65


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_bytes_over_a_background(page: Any, site: Site, scenes: dict[str, Gaussians], mode: str) -> None:
    how = {"capture": {"mode": mode}, "background": [0.2, 0.5, 0.9]}
    gpu, gl = compared(page, site, "d3.ply", CAMERA, how)
    expected = np.clip(render(scenes["d3.ply"], CAMERA, background=(0.2, 0.5, 0.9)).rgb, 0, 1)
    assert psnr(gpu[..., :3], expected) >= (55 if mode == "exact" else 50)
    assert psnr(gpu, gl) >= 50


@pytest.mark.parametrize(
    "settings",
    [{"degree": 1}, {"budget": 700}, {"gain": {"logScale": 0.3, "opacity": 1.4}}, {"box": BOX}],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_of_a_scene(page: Any, site: Site, scenes: dict[str, Gaussians], settings: dict[str, Any]) -> None:
    gpu, gl = compared(page, site, "d3.ply", CAMERA, {"settings": settings, "capture": {"float": True}})
    assert psnr(gpu, gl) >= 65
    plain = numbers(
        call(page, site, "picture", "webgpu", "d3.ply", as_json(CAMERA), {"capture": {"float": True}}), CAMERA, "<f4"
    )
    assert psnr(gpu, plain) < 45


def test_order_of_many_that_are_equally_far(page: Any, site: Site) -> None:
    """Ties go by index over the borders of workgroups and tiles, as in our own renderer."""
    rng = np.random.default_rng(1)
    n = 5000
    means = np.stack([rng.uniform(-1, 1, n), rng.uniform(-0.7, 0.7, n), rng.integers(3, 6, n).astype(float)], axis=1)
    scene = Gaussians(
        means=means.astype(np.float32),
        log_scales=np.full((n, 3), np.log(0.08), np.float32),
        quats=np.tile(np.float32([1, 0, 0, 0]), (n, 1)),
        opacity_logits=np.full(n, 1.0, np.float32),
        sh=rng.normal(0, 1.5, (n, 1, 3)).astype(np.float32),
    )
    write_scene(scene, site.files / "ties.ply")
    camera = Camera(150, 150, 80, 56, 160, 112)
    gpu, gl = compared(page, site, "ties.ply", camera, {"capture": {"float": True}})
    assert psnr(gpu[..., :3], render(scene, camera).rgb) >= 65
    assert psnr(gpu, gl) >= 65


def test_one_gaussian_and_none_in_sight(page: Any, site: Site) -> None:
    def picture(z: float) -> np.ndarray:
        scene = Gaussians(
            means=np.float32([[0, 0, z]]),
            log_scales=np.log(np.float32([[0.3, 0.3, 0.3]])),
            quats=np.float32([[1, 0, 0, 0]]),
            opacity_logits=np.float32([2]),
            sh=np.float32([[[1, 0, -1]]]),
        )
        write_scene(scene, site.files / f"one_{z}.ply")
        camera = Camera(100, 100, 32.5, 32.5, 65, 65)
        how = {"capture": {"float": True}}
        return numbers(call(page, site, "picture", "webgpu", f"one_{z}.ply", as_json(camera), how), camera, "<f4")

    alpha = 1 / (1 + np.exp(-2.0))
    colour = np.maximum(0, 0.5 + 0.28209479177387814 * np.array([1, 0, -1]))
    np.testing.assert_allclose(picture(4.0)[32, 32], [*(alpha * colour), alpha], atol=2e-3)
    assert not picture(-4.0).any()


def test_canvas_in_halves_and_difference(page: Any, site: Site, scenes: dict[str, Gaussians]) -> None:
    def canvas(which: str, names: list[str], **how: Any) -> tuple[np.ndarray, list[int]]:
        found = call(page, site, "canvas", which, names, as_json(CAMERA), how)
        return numbers(found["pixels"], CAMERA)[..., :3], found["drawn"]

    left, drawn = canvas("webgpu", ["d3.ply"])
    right, _ = canvas("webgpu", ["d2.ply"])
    both, _ = canvas("webgpu", ["d3.ply", "d2.ply"], shares=[[0, 0.4], [0.4, 1]])
    np.testing.assert_array_equal(both[:, :64], left[:, :64])
    np.testing.assert_array_equal(both[:, 64:], right[:, 64:])
    assert 0 < drawn[0] < len(scenes["d3.ply"].means)  # some lie behind the camera or beside the picture
    apart = [canvas(which, ["d3.ply", "d2.ply"], gain=4)[0] for which in ("webgpu", "webgl2")]
    assert apart[0].std() > 0.05
    assert psnr(*apart) >= 45
    same, _ = canvas("webgpu", ["d3.ply", "d3.ply"], gain=8)
    assert same.max() < 0.1


def test_a_lost_device_is_replaced(page: Any, site: Site, scenes: dict[str, Gaussians]) -> None:
    found = call(page, site, "pictureAfterLoss", "d3.ply", as_json(CAMERA))
    assert numbers(found["before"], CAMERA)[..., :3].std() > 0.05
    assert found["after"] == found["before"]


def test_the_page_draws_by_webgpu_if_it_is_asked_to(
    launch: Callable[[str], Any], site: Site, scenes: dict[str, Gaussians]
) -> None:
    for page in watched_page(launch("webgpu"), site, [NO_SCENES], viewport={"width": 320, "height": 240}):
        seen = []
        for which in ("webgpu", "webgl2"):
            open_scene(page, f"{site.url}/index.html?scene=files/whole.srz&ui=0&renderer={which}")
            assert page.evaluate("() => scenerep.stats().renderer") == which
            text = page.evaluate(
                """async () => {
                  const pixels = await scenerep.capture({ width: 160, height: 112 });
                  return btoa(String.fromCharCode(...pixels));
                }"""
            )
            seen.append(numbers(text, CAMERA))
        assert seen[1][..., :3].std() > 0.05
        assert psnr(*seen) >= 50
