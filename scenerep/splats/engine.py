"""One optimiser step: render, compare, differentiate, update. The CPU engine runs on native kernels and numpy arrays;
`engine_torch.py` does the same with torch, for CUDA and as the plain version that tests compare with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scenerep.geometry.cameras import Camera
from scenerep.metrics import L1SSIM
from scenerep.native import native
from scenerep.splats.adam import BETA1, BETA2, EPSILON, adam_step
from scenerep.splats.config import SplatsConfig
from scenerep.splats.model import Model
from scenerep.splats.schedule import Rates
from scenerep.splats.targets import Target


@dataclass(frozen=True)
class StepInput:
    """What one step depends on besides the model.

    step: 1 at the first. exposure: [3, 4] float32, picture = rgb @ exposure[:, :3].T + exposure[:, 3], or None.
    `opacity_weight` and `scale_weight` are those of the mean opacity and mean standard deviation in the loss; `noise`
    is the strength of the random walk.
    """

    step: int
    target: Target
    camera: Camera
    background: np.ndarray
    sh_degree: int
    rates: Rates
    opacity_weight: float
    scale_weight: float
    depth_weight: float
    noise: float
    statistics: bool
    exposure: np.ndarray | None = None
    want_pose: bool = False


@dataclass(frozen=True)
class StepOutput:
    """loss: of picture and depth before the update. Gradients [3, 4] of the exposure and of camera_from_world."""

    loss: float
    exposure: np.ndarray | None
    pose: np.ndarray | None


class Engine(Protocol):
    def step(self, given: StepInput) -> StepOutput: ...

    def synchronise(self) -> None:
        """Brings `model` up to date, before anybody reads or changes it."""
        ...

    def reload(self) -> None:
        """Takes over a changed `model`."""
        ...


class NativeEngine:
    """Works in place on the model's arrays.

    fused: Adam uses the gradients where they are made; otherwise they go through arrays, which is slower and gives the
    same bits.
    """

    def __init__(self, model: Model, config: SplatsConfig, seed: int, *, fused: bool = True) -> None:
        self._native = native()
        self._model, self._config, self._seed = model, config, seed
        self._raster = self._native.Rasterizer()
        self._loss = L1SSIM(config.loss.ssim)
        self._fused = fused
        self._pictures: dict[tuple[int, int], tuple[np.ndarray, ...]] = {}
        self.seconds: dict[str, float] = {}  # of the parts of the last step, for benchmarks

    def synchronise(self) -> None:
        return

    def reload(self) -> None:
        return

    def step(self, given: StepInput) -> StepOutput:
        self._native = native()  # keeps the pool at torch's number of threads
        model, raster, camera = self._model, self._raster, given.camera
        params = model.params
        rgb, alpha, depth, v_rgb = self._buffers(camera)
        use_depth = given.target.depth is not None and given.depth_weight > 0
        clock = [time.perf_counter()]
        raster.prepare(
            *params.values(),
            np.ascontiguousarray(camera.camera_from_world[:3]),
            np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
            camera.width,
            camera.height,
            given.sh_degree,
            self._config.antialiased,
        )
        raster.blend_colour(rgb, alpha, depth if use_depth else None, None, [float(b) for b in given.background])
        clock.append(time.perf_counter())
        loss, v_exposure = self._picture_loss(given, rgb, v_rgb)
        v_alpha = v_depth = None
        if use_depth:
            depth_loss, v_alpha, v_depth = _depth_loss(given, alpha, depth)
            loss += depth_loss
        clock.append(time.perf_counter())
        raster.backward_colour(rgb, alpha, depth if use_depth else None, v_rgb, v_alpha, v_depth, False)
        pose = np.zeros((3, 4)) if given.want_pose else None
        clock.append(time.perf_counter())
        (self._update if self._fused else self._update_plainly)(given, params, pose)
        if given.noise > 0:
            self._add_noise(given, params)
        clock.append(time.perf_counter())
        self.seconds = dict(zip(("forward", "loss", "backward", "update"), np.diff(clock)))
        return StepOutput(loss, v_exposure, pose)

    def _buffers(self, camera: Camera) -> tuple[np.ndarray, ...]:
        size = (camera.height, camera.width)
        if size not in self._pictures:
            if len(self._pictures) > 8:
                self._pictures.clear()
            shapes = ((*size, 3), size, size, (*size, 3))
            self._pictures[size] = tuple(np.empty(shape, dtype=np.float32) for shape in shapes)
        return self._pictures[size]

    def _picture_loss(self, given: StepInput, rgb: np.ndarray, v_rgb: np.ndarray) -> tuple[float, np.ndarray | None]:
        """Loss and, in `v_rgb`, its gradient; gradient of the exposure if there is one."""
        picture = rgb
        if given.exposure is not None:
            picture = rgb @ given.exposure[:, :3].T + given.exposure[:, 3]
        target = given.target
        loss = self._loss.loss_and_gradient(picture, target.rgb, mask=target.mask, gradient=v_rgb).loss
        if given.exposure is None:
            return loss, None
        flat, v = rgb.reshape(-1, 3), v_rgb.reshape(-1, 3)
        v_exposure = np.concatenate([v.T @ flat, v.sum(axis=0)[:, None]], axis=1)
        np.matmul(v.copy(), given.exposure[:, :3], out=v)
        return loss, v_exposure

    def _update(self, given: StepInput, params: dict[str, np.ndarray], pose: np.ndarray | None) -> None:
        """Gradients of the parameters and Adam in one pass; fills `pose`."""
        model, n, rates = self._model, self._model.count, given.rates
        self._raster.adam_step(
            list(params.values()),
            [a[:n] for a in model.first.values()],
            [a[:n] for a in model.second.values()],
            [rates.means, rates.log_scales, rates.quats, rates.opacity_logits, rates.sh0, rates.sh],
            BETA1,
            BETA2,
            EPSILON,
            given.step,
            pose,
            *self._statistics(given),
            given.opacity_weight / n,
            given.scale_weight / (3 * n),
        )

    def _update_plainly(self, given: StepInput, params: dict[str, np.ndarray], pose: np.ndarray | None) -> None:
        """What `_update` does, through arrays of gradients."""
        model, n = self._model, self._model.count
        grads = {name: np.zeros_like(a) for name, a in params.items()}
        visible = np.zeros(n, dtype=np.uint8)
        self._raster.visible(visible)
        self._raster.parameter_gradients(
            *grads.values(),
            None,
            None,
            pose,
            True,
            *self._statistics(given),
            given.opacity_weight / n,
            given.scale_weight / (3 * n),
        )
        for name, param in params.items():
            rate, active = getattr(given.rates, name), None
            if name == "sh":
                rate = np.full((param.shape[1], 1), given.rates.sh, dtype=np.float32)
                rate[0] = given.rates.sh0
                active = (given.sh_degree + 1) ** 2
            first, second = model.first[name][:n], model.second[name][:n]
            adam_step(param, grads[name], first, second, rate, given.step, visible, active)

    def _statistics(self, given: StepInput) -> tuple[np.ndarray | None, np.ndarray | None]:
        model, n = self._model, self._model.count
        return (model.screen_norm[:n], model.screen_count[:n]) if given.statistics else (None, None)

    def _add_noise(self, given: StepInput, params: dict[str, np.ndarray]) -> None:
        self._native.add_noise(
            params["means"],
            params["log_scales"],
            params["quats"],
            params["opacity_logits"],
            self._seed,
            given.step,
            given.noise,
        )


def _depth_loss(given: StepInput, alpha: np.ndarray, weighted: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean absolute error of the expected depth where both are known, and its gradients by alpha and weighted depth."""
    truth = given.target.depth
    assert truth is not None
    known = (truth > 0) & (alpha > 0.5)
    if given.target.mask is not None:
        known &= given.target.mask != 0
    safe = np.where(known, alpha, 1.0)
    error = np.where(known, weighted / safe - truth, 0.0)
    weight = given.depth_weight / max(1, int(known.sum()))
    v = np.sign(error) * (weight / safe)
    return (
        weight * float(np.abs(error).sum()),
        np.ascontiguousarray(-v * weighted / safe, dtype=np.float32),
        np.ascontiguousarray(v, dtype=np.float32),
    )
