"""The native kernel equals the reference: pictures, every gradient, for every option, build and number of threads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from render_scenes import make_camera, make_scene, pose_of, relative_error, scalar_loss, with_gradients
from torch import Tensor

from scenerep import native
from scenerep.errors import ConfigError, DeviceError
from scenerep.geometry.cameras import Camera
from scenerep.render import Rasterized, ScreenProbe, native_backend, rasterize

# Where an alpha crosses 1/255 or a transmittance 1e-4, rounding decides: a pixel may differ by this, and seldom by two.
FLIP = 2 / 255

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "degree 0": {"degree": 0},
    "degree 1": {"degree": 1},
    "degree 2": {"degree": 2},
    "truncated": {"sh_degree": 1},
    "truncated to 0": {"sh_degree": 0},
    "background": {"background": True},
    "antialiased": {"antialiased": True, "size_px": 1.0},
    "depth": {"depth": True},
    "median depth": {"median_depth": True},
    "one feature": {"features": 1},
    "features": {"features": 7},
    "pose": {"camera_from_world": True},
    "probe": {"probe": True},
    "absolute probe": {"absolute": True},
    "opaque": {"opacity": 5.0},
    "faint": {"opacity": -4.0},
    "large": {"size_px": 25.0},
    "needles": {"needles": True},
    "everything": {
        "background": True,
        "antialiased": True,
        "depth": True,
        "median_depth": True,
        "features": 3,
        "camera_from_world": True,
        "absolute": True,
        "sh_degree": 2,
    },
}


def _inputs(case: dict[str, Any], camera: Camera, count: int, seed: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors that take gradients (float32 values in float64) and plain options."""
    scene = make_scene(count, camera, seed=seed, degree=case.get("degree", 3), size_px=case.get("size_px", 3))
    scene["opacity_logits"] += case.get("opacity", 0.0)
    if case.get("needles"):
        scene["log_scales"][:, 0] += 2.5
        scene["log_scales"][:, 1:] -= 2.5
    g = torch.Generator().manual_seed(seed)
    if case.get("background"):
        scene["background"] = torch.rand(3, generator=g, dtype=torch.float64)
    if "features" in case:
        scene["features"] = torch.randn(count, case["features"], generator=g, dtype=torch.float64)
    if case.get("camera_from_world"):
        scene["camera_from_world"] = pose_of(camera)
    options = {k: case[k] for k in ("sh_degree", "antialiased", "depth", "median_depth") if k in case}
    return {name: tensor.float().double() for name, tensor in scene.items()}, options


def _run(
    tensors: dict[str, Tensor], options: dict[str, Any], camera: Camera, backend: str, absolute: bool
) -> tuple[Rasterized, dict[str, Tensor], ScreenProbe]:
    inputs, probe = with_gradients(tensors), ScreenProbe(absolute)
    out = rasterize(**inputs, **options, camera=camera, probe=probe, backend=backend)  # pyright: ignore
    scalar_loss(out).backward()
    gradients = {name: t.grad for name, t in inputs.items() if t.grad is not None}
    assert set(gradients) == set(inputs)
    return out, gradients, probe


def _compare(case: dict[str, Any], camera: Camera, count: int = 300, seed: int = 0, bound: float = 1e-4) -> None:
    """`bound`: relative L2 error of each gradient against float64 autograd over the reference."""
    tensors, options = _inputs(case, camera, count, seed)
    absolute = case.get("absolute", False)
    wanted, wanted_gradients, wanted_probe = _run(tensors, options, camera, "reference", absolute)
    single = {name: t.float() for name, t in tensors.items()}
    found, gradients, probe = _run(single, options, camera, "native", absolute)

    for name in ("rgb", "alpha", "features"):
        a, b = getattr(found, name), getattr(wanted, name)
        assert (a is None) == (b is None), name
        if a is None:
            continue
        assert a.dtype == torch.float32 and a.shape == b.shape, name
        error, scale = (a.detach() - b.detach()).abs(), max(1.0, float(b.detach().abs().max()))
        assert error.mean() < 1e-5 * scale, (name, error.mean())
        assert error.flatten().kthvalue(max(1, int(0.995 * error.numel()))).values < 1e-4 * scale, name
        assert error.max() < FLIP * 2 * scale, (name, error.max())
    solid = (wanted.alpha > 0.1) & (found.alpha > 0.1)
    for name, share in (("depth", 0.995), ("median_depth", 0.99)):
        a, b = getattr(found, name), getattr(wanted, name)
        assert (a is None) == (b is None), name
        if a is not None and solid.any():
            same = (a.detach() - b.detach()).abs()[solid] < 1e-4 * b.detach().abs()[solid].clamp(min=1)
            assert same.double().mean() >= share, (name, same.double().mean())

    for name, gradient in gradients.items():
        assert gradient.isfinite().all(), name
        assert relative_error(gradient, wanted_gradients[name]) < bound, (
            name,
            relative_error(gradient, wanted_gradients[name]),
        )
    assert relative_error(probe.gradient, wanted_probe.gradient) < bound
    assert (probe.absolute is not None) == absolute
    if absolute:
        assert relative_error(probe.absolute, wanted_probe.absolute) < bound
    # The rectangle's edge may fall on a pixel centre.
    assert (probe.visible != wanted_probe.visible).sum() <= 0.01 * count + 1
    assert not gradients["means"][~probe.visible].any()


@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(case: str):
    _compare(CASES[case], make_camera(61, 43, seed=7), seed=len(case))


@pytest.mark.parametrize("isa", ["x86-64", "x86-64-v3", "x86-64-v4", "aarch64", "generic"])
def test_every_build_equals_the_reference(isa: str, monkeypatch: pytest.MonkeyPatch):
    native._load.cache_clear()
    monkeypatch.setenv("SCENEREP_ISA", isa)
    try:
        try:
            native.native()
        except (ConfigError, DeviceError) as error:
            pytest.skip(str(error))
        assert native.isa() == isa
        lease = native_backend._Lease()  # not one that another build has left
        assert type(lease.rasterizer).__module__.endswith(native._MODULES[isa])
        _compare(CASES["everything"], make_camera(61, 43, seed=7), seed=1)
        _compare({"background": True}, make_camera(50, 70, seed=8), seed=2)
    finally:
        monkeypatch.undo()
        native._load.cache_clear()


@settings(max_examples=15)
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    count=st.integers(0, 150),
    seed=st.integers(0, 10**6),
    degree=st.integers(0, 3),
    antialiased=st.booleans(),
    background=st.booleans(),
)
def test_equals_the_reference_at_random(width, height, count, seed, degree, antialiased, background):
    case = {"degree": degree, "antialiased": antialiased, "background": background, "depth": True}
    # Few pixels: one flip weighs more.
    _compare(case, make_camera(width, height, seed=seed), count=count, seed=seed, bound=1e-2)


def test_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch):
    camera = make_camera(90, 70, seed=3)
    tensors, options = _inputs(CASES["everything"], camera, 2000, seed=3)
    single = {name: t.float() for name, t in tensors.items()}
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("SCENEREP_THREADS", threads)
        out, gradients, probe = _run(single, options, camera, "native", absolute=True)
        assert native.native().threads() == int(threads)
        pictures = {k: getattr(out, k).detach() for k in ("rgb", "alpha", "depth", "median_depth", "features")}
        probed = {"visible": probe.visible, "gradient": probe.gradient, "absolute": probe.absolute}
        results.append(pictures | gradients | probed)
    for other in results[1:]:
        for name, expected in results[0].items():
            assert torch.equal(other[name], expected), name


def test_pictures_do_not_share_their_state():
    """Two pictures may be drawn before either is differentiated, and one differentiated twice."""
    camera, other = make_camera(40, 30, seed=1), make_camera(33, 44, seed=2)
    tensors, _ = _inputs({}, camera, 200, seed=1)
    single = {name: t.float() for name, t in tensors.items()}

    def gradients(cameras: list[Camera], together: bool) -> dict[str, Tensor]:
        inputs = with_gradients(single)
        losses = []
        for c in cameras:
            losses.append(rasterize(**inputs, camera=c, backend="native").rgb.square().sum())
            if not together:
                losses[-1].backward(retain_graph=True)
        if together:
            for loss in reversed(losses):
                loss.backward(retain_graph=True)
        return {name: t.grad for name, t in inputs.items() if t.grad is not None}

    apart, joined = gradients([camera, other], False), gradients([camera, other], True)
    twice = gradients([camera, camera], False)
    once = gradients([camera], True)
    for name in single:
        assert relative_error(joined[name], apart[name]) < 1e-6, name
        assert relative_error(twice[name], 2 * once[name]) < 1e-6, name


def test_inputs_need_not_be_contiguous_or_all_take_gradients():
    camera = make_camera(30, 20, seed=1)
    tensors, _ = _inputs({}, camera, 100, seed=1)
    single = {name: t.float() for name, t in tensors.items()}
    strided = {name: torch.stack([t, t], dim=-1)[..., 0] for name, t in single.items()}
    assert not strided["sh"].is_contiguous()
    expected = rasterize(**single, camera=camera, backend="native").rgb
    assert torch.equal(rasterize(**strided, camera=camera, backend="native").rgb, expected)
    assert not expected.requires_grad
    logits = single["opacity_logits"].clone().requires_grad_()
    rasterize(**single | {"opacity_logits": logits}, camera=camera, backend="native").rgb.sum().backward()
    assert logits.grad is not None and logits.grad.any()
    assert all(single[name].grad is None for name in single)
