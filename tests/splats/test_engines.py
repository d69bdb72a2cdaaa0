"""The native engine against the plain torch one, and gradients of exposure and pose against differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from splat_cases import STILL, front_camera, random_model, random_scene, small, step_input

from scenerep.geometry.poses import look_at
from scenerep.render import render
from scenerep.splats.config import LossConfig, SplatsConfig
from scenerep.splats.engine import NativeEngine, StepInput, StepOutput
from scenerep.splats.engine_torch import TorchEngine
from scenerep.splats.model import NAMES, Model

CONFIG = small()
# Cases: changes of the configuration, of the step, of the target.
CASES = ["plain", "mask", "depth", "depth and mask", "exposure", "pose", "float", "antialiased", "degree 0", "all"]


def _case(name: str, rng: np.random.Generator) -> tuple[SplatsConfig, StepInput]:
    everything = name == "all"
    config = replace(CONFIG, antialiased=everything or name == "antialiased")
    given = step_input(rng, config)
    target, camera = given.target, given.camera
    if "mask" in name or everything:
        mask = np.ones((camera.height, camera.width), np.uint8)
        mask[5:14, 8:30] = 0
        target = replace(target, mask=mask)
    if "depth" in name or everything:
        depth = rng.uniform(3, 5, (camera.height, camera.width)).astype(np.float32)
        depth[:, :10] = 0  # unknown
        target = replace(target, depth=depth)
        given = replace(given, depth_weight=0.3)
    if name == "float" or everything:  # as with a background drawn anew at each step
        target = replace(target, rgb=(target.rgb / 255.0).astype(np.float32))
    if name == "exposure" or everything:
        given = replace(given, exposure=(np.eye(3, 4) + rng.normal(0, 0.1, (3, 4))).astype(np.float32))
    if name == "pose" or everything:
        pose = look_at(np.array([0.3, -0.2, 0.1]), np.array([0.0, 0.1, 4.0]), np.array([0.1, -1.0, 0.0]))
        given = replace(given, camera=replace(camera, world_from_camera=pose), want_pose=True)
    if name == "degree 0":
        given = replace(given, sh_degree=0)
    return config, replace(given, target=target)


def _both(config: SplatsConfig, backend: str, count: int = 60) -> list[tuple[Model, NativeEngine | TorchEngine]]:
    models = [Model(random_scene(np.random.default_rng(1), count), count + 10) for _ in range(2)]
    return [
        (models[0], NativeEngine(models[0], config, 0)),
        (models[1], TorchEngine(models[1], config, 0, "cpu", backend)),  # type: ignore[arg-type]
    ]


def _compare_outputs(a: StepOutput, b: StepOutput, rtol: float) -> None:
    assert a.loss == pytest.approx(b.loss, rel=rtol)
    for x, y in ((a.exposure, b.exposure), (a.pose, b.pose)):
        assert (x is None) == (y is None)
        if x is not None and y is not None:
            assert x.shape == y.shape == (3, 4)
            np.testing.assert_allclose(x, y, rtol=0, atol=10 * rtol * np.abs(y).max())


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("name", CASES)
def test_first_step(name, backend, rng):
    """Gradients, read off the first moments (0.1 g after one step), agree to float32 rounding of sums over pixels."""
    config, given = _case(name, rng)
    (model, engine), (other, plain) = _both(config, backend)
    _compare_outputs(engine.step(given), plain.step(given), 1e-4)
    for e in (engine, plain):
        e.synchronise()
    for parameter in NAMES:
        g, expected = model.first[parameter], other.first[parameter]
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(g, expected, rtol=0, atol=2e-3 * scale, err_msg=parameter)
        assert np.abs(g - expected).mean() < 1e-4 * scale
        # Adam's first step has the length of the rate, with the gradient's sign: where that is beyond rounding.
        rate = given.rates.sh0 if parameter == "sh" else getattr(given.rates, parameter)
        sure = np.abs(expected) > 5e-3 * scale
        assert sure.sum() >= 5
        np.testing.assert_allclose(
            model.all[parameter][sure], other.all[parameter][sure], rtol=1e-6, atol=0.01 * rate, err_msg=parameter
        )
    np.testing.assert_array_equal(model.screen_count, other.screen_count)
    np.testing.assert_allclose(model.screen_norm, other.screen_norm, rtol=5e-3, atol=1e-4 * other.screen_norm.max())


@pytest.mark.parametrize("name", ["plain", "all"])
def test_several_steps(name, rng):
    """Trainings that differ by rounding stay together: Adam turns noise of tiny gradients into steps, but of few."""
    config, given = _case(name, rng)
    (model, engine), (other, plain) = _both(config, "reference")
    steps = 8
    for step in range(1, steps + 1):
        now = replace(given, step=step)
        _compare_outputs(engine.step(now), plain.step(now), 1e-3)
    plain.synchronise()
    for parameter in NAMES:
        rate = given.rates.sh0 if parameter == "sh" else getattr(given.rates, parameter)
        apart = np.abs(model.params[parameter] - other.params[parameter]) / rate
        assert apart.max() <= 2.1 * steps  # in opposite directions all the time
        assert (apart > 0.2).mean() < 0.03, parameter


@pytest.mark.parametrize("name", ["plain", "pose", "degree 0", "degree 1", "degree 2", "all"])
def test_fused_adam_equals_the_plain_path(name, rng):
    """The same bits as gradients to arrays and Adam after them, over more than one chunk of 1024 Gaussians."""
    config, given = _case(name, rng)
    if name.startswith("degree"):
        given = replace(given, sh_degree=int(name[-1]))
    scene = random_scene(np.random.default_rng(1), 2100, degree=3)
    scene.means[300:340, 2] = -5  # behind the camera
    scene.means[1024:2048:3, 2] = -5
    models = [Model(scene, 2100) for _ in range(2)]
    engines = [NativeEngine(model, config, 0, fused=fused) for model, fused in zip(models, (True, False))]
    for step in (1, 2, 3):
        outputs = [engine.step(replace(given, step=step, noise=0.5)) for engine in engines]
        assert outputs[0].loss == outputs[1].loss
        if given.want_pose:
            np.testing.assert_array_equal(outputs[0].pose, outputs[1].pose)
    for array, (key, expected) in zip(models[0].state().values(), models[1].state().items()):
        np.testing.assert_array_equal(array, expected, err_msg=key)
    active = (given.sh_degree + 1) ** 2
    assert (models[0].first["sh"][:, :active] != 0).any(axis=(0, 2)).all()
    assert not models[0].first["sh"][:, active:].any()


def test_fused_adam_refuses_other_arrays(rng):
    """The update is in place, so it has to be of the arrays that were rasterised."""
    config, given = _case("plain", rng)
    model = random_model(rng, 20)
    engine = NativeEngine(model, config, 0)
    engine.step(given)
    raster = engine._raster
    arrays = list(model.params.values())
    rest = ([0.1] * 6, 0.9, 0.999, 1e-15, 1, None, None, None, 0.0, 0.0)
    with pytest.raises(ValueError, match="backward_colour comes first"):
        raster.adam_step(arrays, arrays, arrays, *rest)
    camera = given.camera
    pose, lens = np.eye(4)[:3].copy(), np.array([camera.fx, camera.fy, camera.cx, camera.cy])
    size = (camera.height, camera.width)
    rgb, alpha = np.zeros((*size, 3), np.float32), np.zeros(size, np.float32)
    raster.prepare(*arrays, pose, lens, camera.width, camera.height, 0, False)
    raster.blend_colour(rgb, alpha, None, None, [0.0, 0.0, 0.0])
    raster.backward_colour(rgb, alpha, None, rgb, None, None, False)
    with pytest.raises(ValueError, match="not those that were rasterised"):
        raster.adam_step([a.copy() for a in arrays], arrays, arrays, *rest)


def test_torch_engine_hands_the_model_over(rng):
    """What `reload` reads is what `synchronise` wrote, with another number of rows too."""
    config, given = _case("plain", rng)
    model = random_model(rng, 30, capacity=40)
    engine = TorchEngine(model, config, 0, "cpu", "native")
    engine.step(given)
    engine.synchronise()
    model.append(model.gather(np.arange(5)))
    state = {name: a.copy() for name, a in model.state().items()}
    engine.reload()
    engine.synchronise()
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
    assert np.isfinite(engine.step(replace(given, step=2)).loss)


@pytest.mark.parametrize("kind", ["native", "torch"])
def test_invisible_gaussians_do_not_move(kind, rng):
    config, given = _case("plain", rng)
    model = random_model(rng, 40)
    model.all["means"][:10, 2] = -5  # behind the camera
    before = {name: a.copy() for name, a in model.state().items()}
    engine = NativeEngine(model, config, 0) if kind == "native" else TorchEngine(model, config, 0, "cpu", "native")
    engine.step(given)
    engine.synchronise()
    for name, array in model.state().items():
        np.testing.assert_array_equal(array[:10], before[name][:10], err_msg=name)
    assert (model.params["means"][10:] != before["means"][10:]).any()


@pytest.mark.parametrize("kind", ["native", "torch"])
def test_noise_moves_only_the_faint(kind, rng):
    config, given = _case("plain", rng)
    model = random_model(rng, 60)
    model.all["opacity_logits"][:30] = -6
    model.all["opacity_logits"][30:] = 2
    before = model.params["means"].copy()
    engine = NativeEngine(model, config, 0) if kind == "native" else TorchEngine(model, config, 0, "cpu", "native")
    engine.step(replace(given, rates=STILL, noise=3.0))
    engine.synchronise()
    assert (model.params["means"][:30] != before[:30]).any(axis=1).all()
    np.testing.assert_array_equal(model.params["means"][30:], before[30:])


@pytest.mark.parametrize("kind", ["native", "torch"])
def test_noise_depends_on_seed_and_step_alone(kind, rng):
    """An engine made anew in the middle, as when resuming, draws what the old one would have drawn."""
    config, given = _case("plain", rng)

    def walk(seed: int, fresh: bool) -> np.ndarray:
        model = Model(random_scene(np.random.default_rng(2), 30), 30)
        model.all["opacity_logits"][:] = -5

        def make() -> NativeEngine | TorchEngine:
            if kind == "native":
                return NativeEngine(model, config, seed)
            return TorchEngine(model, config, seed, "cpu", "native")

        engine = make()
        for step in (1, 2, 3):
            if fresh:
                engine.synchronise()
                engine = make()
            engine.step(replace(given, step=step, rates=STILL, noise=1.0))
        engine.synchronise()
        return model.params["means"].copy()

    np.testing.assert_array_equal(walk(7, False), walk(7, True))
    assert (walk(7, False) != walk(8, False)).any()


def _loss_at(config: SplatsConfig, given: StepInput) -> float:
    """The loss of the same scene, which the step leaves alone."""
    model = Model(random_scene(np.random.default_rng(1), 60), 60)
    return NativeEngine(model, config, 0).step(replace(given, rates=STILL)).loss


def test_exposure_gradient_equals_differences(rng):
    config, given = _case("exposure", rng)
    # SSIM alone is smooth, so that differences say something: |x - y| has a corner in many pixels.
    config = replace(config, loss=LossConfig(ssim=1.0))
    assert given.exposure is not None
    model = Model(random_scene(np.random.default_rng(1), 60), 60)
    gradient = NativeEngine(model, config, 0).step(replace(given, rates=STILL)).exposure
    assert gradient is not None
    h = 1e-3
    for i in range(3):
        for j in range(4):
            both = []
            for sign in (1, -1):
                moved = given.exposure.copy()
                moved[i, j] += sign * h
                both.append(_loss_at(config, replace(given, exposure=moved)))
            assert (both[0] - both[1]) / (2 * h) == pytest.approx(gradient[i, j], rel=0.02, abs=1e-3)


def test_pose_gradient_equals_differences(rng):
    """Along rigid motions: three turns and three shifts."""
    config, given = _case("pose", rng)
    config = replace(config, loss=LossConfig(ssim=1.0))
    # So wide that alpha is above 1/255 in all pixels, and so far apart in depth that none changes places: at both the
    # picture jumps, which the gradient knows nothing of.
    scene = random_scene(np.random.default_rng(1), 25)
    means = scene.means.copy()
    means[:, 2] = 3 + 0.08 * np.arange(25)
    logits = np.clip(scene.opacity_logits, -1, 1)
    scene = replace(scene, means=means, log_scales=scene.log_scales * 0.2 + 0.9, opacity_logits=logits)

    def loss(pose: np.ndarray) -> float:
        camera = replace(given.camera, world_from_camera=np.linalg.inv(pose))
        return NativeEngine(Model(scene, 25), config, 0).step(replace(given, camera=camera, rates=STILL)).loss

    gradient = NativeEngine(Model(scene, 25), config, 0).step(replace(given, rates=STILL)).pose
    assert gradient is not None
    base = given.camera.camera_from_world
    found, expected = [], []
    h = 5e-3
    for axis in range(3):
        k = np.zeros((4, 4))
        k[(axis + 2) % 3, (axis + 1) % 3], k[(axis + 1) % 3, (axis + 2) % 3] = 1, -1
        turn = [np.eye(4) + np.sin(s * h) * k + (1 - np.cos(h)) * k @ k for s in (1, -1)]
        shift = np.zeros((4, 4))
        shift[axis, 3] = 1
        for poses, direction in (
            ([t @ base for t in turn], k @ base),
            ([base + s * h * shift for s in (1, -1)], shift),
        ):
            found.append((loss(poses[0]) - loss(poses[1])) / (2 * h))
            expected.append(float((gradient * direction[:3]).sum()))
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.01 * np.abs(expected).max())


def test_the_loss_falls(rng):
    config, given = _case("plain", rng)
    model = Model(random_scene(rng, 80), 80)
    engine = NativeEngine(model, config, 0)

    def error() -> float:
        drawn = render(model.scene(), front_camera(), background=(0.2, 0.5, 0.7)).rgb
        return float(np.abs(drawn - given.target.rgb / 255).mean())

    before = error()
    losses = [engine.step(replace(given, step=s)).loss for s in range(1, 121)]
    assert np.mean(losses[-10:]) < 0.6 * losses[0]
    assert error() < 0.6 * before


def test_engine_follows_a_model_that_grows(rng):
    config, given = _case("plain", rng)
    model = Model(random_scene(rng, 10), 12)
    engine = NativeEngine(model, config, 0)
    engine.step(given)
    model.append(random_scene(rng, 30).arrays())  # beyond the capacity
    before = model.params["means"].copy()
    assert np.isfinite(engine.step(replace(given, step=2)).loss)
    assert (model.params["means"][10:] != before[10:]).any()
