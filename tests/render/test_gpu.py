"""The adapter to gsplat with gsplat's CPU mathematics in place of its kernels; and with it, reference = gsplat."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from render_scenes import make_camera, make_scene, pose_of, relative_error, scalar_loss, with_gradients

from scenerep.errors import ConfigError, DeviceError
from scenerep.render import ScreenProbe, gpu, rasterize
from scenerep.render.reference import rasterize_reference

gsplat = pytest.importorskip("gsplat")
standin = pytest.importorskip("gsplat_standin")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The stand-in in gsplat's place; the keyword arguments of every call to it."""
    seen: list[dict[str, Any]] = []

    def rasterization(**kwargs: Any):
        inspect.signature(gsplat.rasterization).bind(**kwargs)  # every keyword exists in the real one
        seen.append(kwargs)
        return standin.rasterization(**kwargs)

    monkeypatch.setattr(gpu, "_gsplat", lambda means: SimpleNamespace(rasterization=rasterization))
    return seen


CASES = {
    "plain": {},
    "antialiased": {"antialiased": True},
    "truncated": {"sh_degree": 1},
    "everything": {"antialiased": True, "depth": True, "features": 5},
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(case: str, calls: list[dict[str, Any]]):
    camera = make_camera(24, 17, seed=4)
    scene = make_scene(80, camera, seed=4)
    options = {"sh_degree": 3, "antialiased": False, "depth": False, "median_depth": False, **CASES[case]}
    channels = options.pop("features", None)
    tensors = scene | {
        "features": None if channels is None else torch.randn(80, channels, dtype=torch.float64),
        "background": torch.rand(3, dtype=torch.float64),
        "camera_from_world": pose_of(camera),
    }
    results = []
    for function in (gpu.rasterize_gsplat, rasterize_reference):
        inputs, probe = with_gradients(tensors), ScreenProbe(absolute=True)
        out = function(**inputs, camera=camera, probe=probe, **options)
        scalar_loss(out).backward()
        # gsplat inverts the pose, the reference transposes it: equal along rigid motions only.
        inputs["camera_from_world"].grad = _tangent(inputs["camera_from_world"])
        results.append((out, inputs, probe))
    (found, found_inputs, found_probe), (wanted, wanted_inputs, wanted_probe) = results
    for name in ("rgb", "alpha", "depth", "features"):
        a, b = getattr(found, name), getattr(wanted, name)
        assert (a is None) == (b is None)
        assert a is None or relative_error(a, b) < 1e-9, name
    for name, tensor in wanted_inputs.items():
        assert tensor is None or relative_error(found_inputs[name].grad, tensor.grad) < 1e-7, name
    assert relative_error(found_probe.gradient, wanted_probe.gradient) < 1e-9
    assert relative_error(found_probe.absolute, wanted_probe.absolute) < 1e-9
    # gsplat's radii are rounded up to whole pixels, so that it may call a little more visible.
    assert not (wanted_probe.visible & ~found_probe.visible).any()
    assert len(calls) == (1 if channels is None else 2)


def _tangent(pose: torch.Tensor) -> torch.Tensor:
    """Gradient with respect to the six rigid motions exp(xi) @ pose."""
    generators = torch.zeros(6, 4, 4, dtype=pose.dtype)
    for axis in range(3):
        generators[axis, axis, 3] = 1
        i, j = (axis + 1) % 3, (axis + 2) % 3
        generators[3 + axis, j, i], generators[3 + axis, i, j] = 1, -1
    motions = (pose.grad * (generators @ pose.detach())).sum((1, 2))
    return torch.cat([motions, motions.new_zeros(10)]).reshape(4, 4)


def test_zero_length_quaternions_and_no_gaussians(calls: list[dict[str, Any]]):
    camera = make_camera(9, 7)
    scene = make_scene(3, camera)
    scene["quats"][1] = 0
    options = {
        "sh_degree": 3,
        "background": torch.full((3,), 0.25, dtype=torch.float64),
        "antialiased": False,
        "features": torch.ones(3, 2, dtype=torch.float64),
        "depth": True,
        "median_depth": False,
        "camera_from_world": pose_of(camera),
    }
    probe = ScreenProbe()
    gpu.rasterize_gsplat(**scene, camera=camera, probe=probe, **options)
    assert calls[0]["quats"][1].tolist() == [1, 0, 0, 0]
    none = with_gradients({name: tensor[:0] for name, tensor in scene.items()})
    out = gpu.rasterize_gsplat(**none, camera=camera, probe=probe, **options | {"features": options["features"][:0]})
    assert (out.rgb == 0.25).all() and not out.alpha.any() and out.features.shape == (7, 9, 2)
    out.rgb.sum().backward()
    assert none["means"].grad.shape == (0, 3)
    with pytest.raises(ConfigError, match="median"):
        gpu.rasterize_gsplat(**scene, camera=camera, probe=None, **options | {"median_depth": True})


def test_old_radii_of_one_number():
    probe = ScreenProbe()
    gpu._listen(probe, [{"radii": torch.tensor([[0, 3]]), "means2d": torch.zeros(1, 2, 2)}])
    assert probe.visible.tolist() == [False, True]


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    camera = make_camera(5, 5)
    scene = make_scene(2, camera, dtype=torch.float32)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="CUDA device"):
        rasterize(**scene, camera=camera, backend="gsplat")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(DeviceError, match="on cpu"):
        rasterize(**scene, camera=camera, backend="gsplat")
    on_gpu = SimpleNamespace(is_cuda=True, device="cuda:0")
    monkeypatch.setattr(gsplat, "__version__", "1.3.9")
    with pytest.raises(DeviceError, match=r"1\.3\.9 is too old"):
        gpu._gsplat(on_gpu)
    monkeypatch.setitem(__import__("sys").modules, "gsplat", None)
    with pytest.raises(DeviceError, match="cannot be imported"):
        gpu._gsplat(on_gpu)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_real_device():
    camera = make_camera(64, 48, seed=4)
    scene = make_scene(300, camera, seed=4, dtype=torch.float32)
    expected = rasterize(**scene, camera=camera, backend="reference")
    found = rasterize(**{name: tensor.cuda() for name, tensor in scene.items()}, camera=camera)
    assert (found.rgb.cpu() - expected.rgb).abs().mean() < 1e-4
