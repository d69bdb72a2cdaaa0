"""The door: what it refuses and how it says so, the choice of backend, `render` and `significance`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from render_scenes import NAMES, make_camera, make_scene

from scenerep.errors import ConfigError, SceneRepError
from scenerep.geometry.cameras import Distortion
from scenerep.render import api, rasterize, render, significance
from scenerep.scenes import Gaussians

CAMERA = make_camera(20, 14, seed=1)


def _scene() -> dict[str, torch.Tensor]:
    return make_scene(30, CAMERA, seed=1, dtype=torch.float32)


def _gaussians(**changes) -> Gaussians:
    return Gaussians(**{name: t.numpy() for name, t in _scene().items()}, **changes)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", NAMES)
def test_refuses_what_is_not_finite(name: str, value: float):
    scene = _scene()
    scene[name].view(30, -1)[[7, 9], -1] = value
    place = "7" + "".join(f", {size - 1}" for size in scene[name].shape[1:])
    with pytest.raises(SceneRepError, match=rf"{name}\[{place}\] is {value} \(2 such") as error:
        rasterize(**scene, camera=CAMERA)
    assert "finite" in error.value.hint


def test_refuses_what_is_not_finite_besides_the_parameters():
    bad = torch.full((4, 4), float("nan"))
    with pytest.raises(SceneRepError, match=r"camera_from_world\[0, 0\]"):
        rasterize(**_scene(), camera=CAMERA, camera_from_world=bad)
    with pytest.raises(SceneRepError, match=r"background\[0\]"):
        rasterize(**_scene(), camera=CAMERA, background=bad[0, :3])
    with pytest.raises(SceneRepError, match=r"features\[3, 1\]"):
        features = torch.zeros(30, 2)
        features[3, 1] = float("nan")
        rasterize(**_scene(), camera=CAMERA, features=features)


def test_a_sum_that_overflows_is_not_a_fault():
    scene = _scene()
    scene["means"][:3] = 3e38
    rasterize(**scene, camera=CAMERA, backend="reference")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.zeros(30, 2)}, r"means has shape \(30, 2\), expected \(30, 3\)"),
        ({"means": torch.tensor(0.0)}, r"means has shape \(\)"),
        ({"quats": torch.zeros(29, 4)}, r"quats has shape \(29, 4\), expected \(30, 4\)"),
        ({"opacity_logits": torch.zeros(30, 1)}, r"opacity_logits has shape \(30, 1\), expected \(30\)"),
        ({"sh": torch.zeros(30, 3)}, r"sh has shape \(30, 3\), expected \(30, any, 3\)"),
        ({"sh": torch.zeros(30, 5, 3)}, "5 spherical-harmonics coefficients"),
        ({"sh": torch.zeros(30, 4, 3, dtype=torch.float64)}, "sh is torch.float64 on cpu, means is torch.float32"),
        ({"means": torch.zeros(30, 3, dtype=torch.float16)}, "dtype torch.float16"),
        ({"features": torch.zeros(30)}, r"features has shape \(30,\), expected \(30, any\)"),
        ({"background": torch.zeros(1)}, r"background has shape \(1,\)"),
        ({"camera_from_world": torch.eye(3)}, r"camera_from_world has shape \(3, 3\)"),
        ({"sh_degree": 4}, "sh_degree=4 does not fit coefficients of degree 3"),
        ({"sh_degree": -1}, "sh_degree=-1"),
        ({"backend": "vulkan"}, "'vulkan' is not known"),
        ({"camera": replace(CAMERA, width=0)}, "size 0 x 14"),
        ({"camera": replace(CAMERA, fx=-1.0)}, "focal lengths are -1.0"),
        ({"camera": replace(CAMERA, fy=float("nan"))}, "focal lengths"),
        ({"camera": replace(CAMERA, distortion=Distortion("fisheye", (0.1, 0, 0, 0)))}, "fisheye lens distortion"),
    ],
)
def test_refuses(change: dict, message: str):
    with pytest.raises(SceneRepError, match=message):
        rasterize(**{**_scene(), "camera": CAMERA, **change})


def test_zero_distortion_is_a_pinhole():
    camera = replace(CAMERA, distortion=Distortion("opencv", (0.0, 0.0)))
    rasterize(**_scene(), camera=camera, backend="reference")


def test_choice_of_backend():
    from scenerep.render.native_backend import rasterize_native
    from scenerep.render.reference import rasterize_reference

    means = torch.zeros(1, 3)
    assert api._backend("auto", means) is rasterize_native
    assert api._backend("native", means) is rasterize_native
    assert api._backend("reference", means.double()) is rasterize_reference
    for backend in ("auto", "native", "gsplat"):
        with pytest.raises(ConfigError, match=r"float32, not torch\.float64"):
            api._backend(backend, means.double())
    with pytest.raises(ConfigError, match="runs on the CPU"):
        api._backend("native", means.to("meta"))


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_render_is_rasterize_in_numpy(backend: str):
    scene = _gaussians(antialiased=True)
    out = render(scene, CAMERA, background=(1, 0.5, 0), depth=True, median_depth=True, sh_degree=2, backend=backend)
    expected = rasterize(
        **_scene(),
        camera=CAMERA,
        sh_degree=2,
        background=torch.tensor([1, 0.5, 0]),
        antialiased=True,
        depth=True,
        median_depth=True,
        backend=backend,
    )
    for name in ("rgb", "alpha", "depth", "median_depth"):
        found = getattr(out, name)
        assert isinstance(found, np.ndarray) and found.dtype == np.float32
        np.testing.assert_array_equal(found, getattr(expected, name).numpy())
    plain = render(scene, CAMERA, backend=backend)
    assert plain.depth is None and plain.median_depth is None


def test_render_takes_read_only_arrays():
    scene = _gaussians()
    for array in scene.arrays().values():
        array.flags.writeable = False
    assert render(scene, CAMERA, backend="reference").alpha.any()


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_significance_is_the_sum_of_weights(backend: str):
    """The weights of all Gaussians at a pixel add up to its alpha; leaving one out that hides nobody takes its own."""
    scene, other = _gaussians(), make_camera(31, 9, seed=1)
    with torch.no_grad():  # a caller's no_grad must not matter
        found = significance(scene, [CAMERA, other], backend=backend)
    assert found.dtype == np.float64 and found.shape == (30,) and (found >= 0).all()
    alphas = [render(scene, camera, backend=backend).alpha.sum() for camera in (CAMERA, other)]
    np.testing.assert_allclose(found.sum(), sum(alphas), rtol=1e-4)
    local = scene.means @ CAMERA.camera_from_world[:3, :3].T + CAMERA.camera_from_world[:3, 3]
    assert not found[local[:, 2] <= 0].any()
    last = int(np.argmax(local[:, 2]))
    rest = scene.select(np.arange(30) != last)
    without = render(rest, CAMERA, backend=backend).alpha.sum()
    np.testing.assert_allclose(significance(scene, [CAMERA], backend=backend)[last], alphas[0] - without, atol=2e-2)
    assert not significance(scene, [], backend=backend).any()
