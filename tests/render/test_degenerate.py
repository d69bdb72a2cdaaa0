"""Input at the edge of sense: nothing to draw, nothing to see, numbers out of range. The same for every backend."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from render_scenes import NAMES, make_camera, make_scene, scalar_loss, with_gradients

from scenerep.geometry import sh
from scenerep.geometry.cameras import Camera
from scenerep.render import ScreenProbe, rasterize

BACKGROUND = (0.2, 0.4, 0.6)


@pytest.fixture(params=["reference", "native"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def _draw(scene: dict[str, torch.Tensor], camera: Camera, backend: str, **options):
    """Everything at once, and the backward pass: outputs, gradients and probe, all of them finite."""
    inputs, probe = with_gradients(scene), ScreenProbe(absolute=True)
    features = torch.ones(len(scene["means"]), 2).requires_grad_()
    out = rasterize(
        **inputs,
        camera=camera,
        features=features,
        background=torch.tensor(BACKGROUND),
        depth=True,
        median_depth=True,
        probe=probe,
        backend=backend,  # pyright: ignore[reportArgumentType]
        **options,
    )
    scalar_loss(out).backward()
    assert out.rgb.shape == (camera.height, camera.width, 3)
    assert out.features is not None and out.features.shape == (camera.height, camera.width, 2)
    for picture in (out.rgb, out.alpha, out.depth, out.median_depth, out.features):
        assert picture is not None and picture.isfinite().all()
    gradients = {name: t.grad for name, t in (inputs | {"features": features}).items()}
    for name, gradient in (gradients | {"probe": probe.gradient, "absolute": probe.absolute}).items():
        assert gradient is not None and gradient.isfinite().all(), name
    return out, gradients, probe


def _one(z: float, size: float, opacity: float = 0.9, **other: list[float]) -> dict[str, torch.Tensor]:
    """A white Gaussian on the axis of a camera at the origin."""
    scene = {
        "means": [[0.0, 0.0, z]],
        "log_scales": [[math.log(size)] * 3 if size > 0 else [-30.0] * 3],
        "quats": [[1.0, 0.0, 0.0, 0.0]],
        "opacity_logits": [math.log(opacity / (1 - opacity))],
        "sh": [[[sh.dc_from_rgb(1.0)] * 3]],
    } | other
    return {name: torch.tensor(value) for name, value in scene.items()}


def _is_empty(out, gradients, probe) -> bool:
    rgb = torch.tensor(BACKGROUND).expand_as(out.rgb)
    blank = not (out.alpha.any() or out.depth.any() or out.median_depth.any() or out.features.any())
    still = not any(g.any() for g in gradients.values()) and not probe.gradient.any()
    return torch.equal(out.rgb, rgb) and blank and still and not probe.visible.any()


def test_no_gaussians(backend: str):
    camera = make_camera(20, 10)
    scene = make_scene(0, camera, dtype=torch.float32)
    out, gradients, probe = _draw(scene, camera, backend)
    assert _is_empty(out, gradients, probe)
    assert probe.gradient.shape == (0, 2) and gradients["sh"].shape == (0, 16, 3)


@pytest.mark.parametrize(
    "means",
    [[[0.0, 0, -3]], [[0.0, 0, 0]], [[0.0, 0, 0.009]], [[0.0, 0, 2e10]], [[500.0, 0, 3]], [[0.0, -500, 3]]],
    ids=["behind", "at the camera", "too near", "too far", "right of the picture", "above the picture"],
)
def test_nothing_in_view(means: list[list[float]], backend: str):
    camera = Camera(30, 30, 16, 12, 32, 24)
    assert _is_empty(*_draw(_one(3, 0.1, means=means), camera, backend))


def test_nothing_opaque_enough(backend: str):
    camera = Camera(30, 30, 16, 12, 32, 24)
    assert _is_empty(*_draw(_one(3, 0.1, opacity=0.99 / 255), camera, backend))
    # Antialiasing takes a Gaussian of no size below 1/255 too; without, it is a dot as large as the low-pass filter.
    assert _is_empty(*_draw(_one(3, 0), camera, backend, antialiased=True))


@pytest.mark.parametrize("antialiased", [False, True])
def test_one_gaussian_between_four_pixels(antialiased: bool, backend: str):
    """Every number by hand: variance 0.3 + (f s / z)^2, four centres at half a pixel in x and y."""
    camera = Camera(30, 30, 16, 12, 32, 24)
    out, _, probe = _draw(_one(3, 0.1), camera, backend, antialiased=antialiased)
    variance = (30 * 0.1 / 3) ** 2 + 0.3
    opacity = 0.9 * ((variance - 0.3) / variance if antialiased else 1)
    alpha = opacity * math.exp(-0.25 / variance)
    np.testing.assert_allclose(out.alpha.detach()[11:13, 15:17], alpha, rtol=1e-5)
    np.testing.assert_allclose(out.rgb.detach()[11, 15], alpha + (1 - alpha) * np.array(BACKGROUND), rtol=1e-5)
    np.testing.assert_allclose(out.depth.detach()[11, 15], 3, rtol=1e-6)
    assert out.median_depth[11, 15] == (3 if alpha > 0.5 else 0) and out.median_depth[0, 0] == 0
    # It reaches to where alpha is 1/255, no nearer and no farther.
    radius = math.sqrt(2 * variance * math.log(255 * opacity))
    y, x = np.mgrid[:24, :32] + 0.5
    np.testing.assert_array_equal(out.alpha.detach() > 0, np.hypot(x - 16, y - 12) <= radius)
    assert probe.visible.all()


def test_no_size(backend: str):
    out, gradients, _ = _draw(_one(3, 0), Camera(30, 30, 16, 12, 32, 24), backend)
    np.testing.assert_allclose(out.alpha.detach()[12, 16], 0.9 * math.exp(-0.25 / 0.3), rtol=1e-5)
    assert gradients["opacity_logits"].any()


def test_huge(backend: str):
    """As large as the sky: a flat veil. Larger than float32 can square: culled."""
    camera = Camera(30, 30, 16, 12, 32, 24)
    out, _, _ = _draw(_one(3, 1e5), camera, backend)
    np.testing.assert_allclose(out.alpha.detach(), 0.9, rtol=1e-4)
    assert _is_empty(*_draw(_one(3, 1, log_scales=[[60.0, 60.0, 60.0]]), camera, backend))
    assert _is_empty(*_draw(_one(3, 1, log_scales=[[200.0, 0.0, 0.0]]), camera, backend))


def test_saturated_opacity(backend: str):
    """alpha ends at 0.999 and takes no gradient there; the one behind it still shows, a third would not."""
    camera = Camera(30, 30, 16, 12, 32, 24)
    parts = [_one(z, 1e3, opacity_logits=[40.0]) for z in (3.0, 4.0, 5.0)]
    scene = {name: torch.cat([p[name] for p in parts]) for name in NAMES}
    out, gradients, _ = _draw(scene, camera, backend)
    # 0.001 after the first; the second would leave 1e-6 <= 1e-4, so the pixel ends before it.
    np.testing.assert_allclose(out.alpha.detach(), 0.999, rtol=1e-5)
    np.testing.assert_allclose(out.median_depth.detach(), 3)
    assert not gradients["opacity_logits"].any()
    assert gradients["sh"][0].any() and not gradients["sh"][1:].any()


def test_quaternion_of_no_length_is_no_rotation(backend: str):
    camera = Camera(30, 30, 16, 12, 32, 24)
    log_scales = [[-1.0, -2.0, -3.0]]
    expected, _, _ = _draw(_one(3, 1, log_scales=log_scales), camera, backend)
    found, gradients, _ = _draw(_one(3, 1, log_scales=log_scales, quats=[[0.0, 0, 0, 0]]), camera, backend)
    assert torch.allclose(found.rgb, expected.rgb, atol=1e-6)
    assert not gradients["quats"].any()


def test_length_of_a_quaternion_does_not_matter(backend: str):
    camera = make_camera(30, 20)
    scene = make_scene(40, camera, dtype=torch.float32)
    expected, _, _ = _draw(scene, camera, backend)
    for factor in (1e-6, 1e6):
        found, _, _ = _draw(scene | {"quats": scene["quats"] * factor}, camera, backend)
        assert (found.rgb - expected.rgb).abs().mean() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (15, 17), (16, 16), (33, 31)])
def test_any_size_of_picture(size: tuple[int, int], backend: str):
    """A picture is a window on a larger one, whatever its size."""
    width, height = size
    large = make_camera(60, 60, seed=2)
    # The clamp of the Jacobian depends on the window, so everything is kept well inside it.
    scene = make_scene(60, large, dtype=torch.float32, seed=2)
    scene["log_scales"] -= 1
    small = Camera(large.fx, large.fy, large.cx, large.cy, width, height, large.world_from_camera)
    whole, _, _ = _draw(scene, large, "reference")
    part, _, _ = _draw(scene, small, backend)
    if min(size) >= 15:
        inner = (slice(0, height // 2), slice(0, width // 2))
        assert (whole.rgb[inner] - part.rgb[inner]).abs().mean() < 2e-2
    exact, _, _ = _draw(scene, small, "reference")
    assert (exact.rgb - part.rgb).abs().mean() < 1e-5
