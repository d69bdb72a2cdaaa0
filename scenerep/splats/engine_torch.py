"""The same step in torch: rasterisation through `rasterize()` (gsplat on CUDA), autograd, Adam on visible rows.

Plain rather than fast on a CPU: tests compare the native engine with it. The refinement works on the model's numpy
arrays, so parameters and moments go there and back every `densify.every` steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scenerep.metrics.reference import l1_ssim_reference
from scenerep.render import ScreenProbe, rasterize
from scenerep.render.types import Backend
from scenerep.splats.adam import BETA1, BETA2, EPSILON
from scenerep.splats.config import SplatsConfig
from scenerep.splats.engine import StepInput, StepOutput
from scenerep.splats.model import Model


class TorchEngine:
    """Keeps parameters and moments on a device.

    Args:
        device: "cuda" or "cpu".
        backend: Of `rasterize()`; "auto" takes gsplat on CUDA.
    """

    def __init__(self, model: Model, config: SplatsConfig, seed: int, device: str, backend: Backend = "auto") -> None:
        self._model, self._config = model, config
        self._backend: Backend = backend
        self._device = torch.device(device)
        self._generator, self._seed = torch.Generator(self._device), seed
        self.reload()

    def reload(self) -> None:
        n = self._model.count
        groups = (self._model.all, self._model.first, self._model.second)
        self._params, self._first, self._second = (
            {name: torch.tensor(a[:n], device=self._device) for name, a in group.items()} for group in groups
        )
        self._norm = torch.tensor(self._model.screen_norm[:n], device=self._device)
        self._count = torch.tensor(self._model.screen_count[:n], device=self._device)

    def synchronise(self) -> None:
        n, model = self._model.count, self._model
        for group, here in (
            (model.all, self._params),
            (model.first, self._first),
            (model.second, self._second),
        ):
            for name, tensor in here.items():
                group[name][:n] = tensor.cpu().numpy()
        model.screen_norm[:n], model.screen_count[:n] = self._norm.cpu().numpy(), self._count.cpu().numpy()

    def step(self, given: StepInput) -> StepOutput:
        p = {name: t.detach().requires_grad_() for name, t in self._params.items()}
        camera = given.camera
        pose = torch.tensor(camera.camera_from_world, dtype=torch.float32, device=self._device)
        pose.requires_grad_(given.want_pose)
        exposure = None if given.exposure is None else self._tensor(given.exposure).requires_grad_()
        use_depth = given.target.depth is not None and given.depth_weight > 0
        probe = ScreenProbe()
        out = rasterize(
            p["means"],
            p["log_scales"],
            p["quats"],
            p["opacity_logits"],
            p["sh"],
            replace(camera, distortion=None),
            sh_degree=given.sh_degree,
            background=self._tensor(given.background),
            antialiased=self._config.antialiased,
            depth=use_depth,
            camera_from_world=pose,
            probe=probe,
            backend=self._backend,
        )
        picture = out.rgb if exposure is None else out.rgb @ exposure[:, :3].T + exposure[:, 3]
        target = given.target
        truth = self._tensor(target.rgb) / (255.0 if target.rgb.dtype == np.uint8 else 1.0)
        mask = None if target.mask is None else self._tensor(target.mask)
        loss, _, _ = l1_ssim_reference(picture, truth, mask, self._config.loss.ssim)
        if use_depth:
            assert out.depth is not None and target.depth is not None
            depth = self._tensor(target.depth)
            known = (depth > 0) & (out.alpha > 0.5)
            if mask is not None:
                known &= mask != 0
            error = torch.where(known, out.depth - depth, 0.0).abs().sum()
            loss = loss + given.depth_weight * error / known.sum().clamp_min(1)
        assert probe.visible is not None
        visible = probe.visible
        n = len(visible)
        # The regularisers act on what is in view, like everything else.
        opacity = torch.sigmoid(p["opacity_logits"])[visible].sum() / n
        size = torch.exp(p["log_scales"])[visible].sum() / (3 * n)
        total = loss + given.opacity_weight * opacity + given.scale_weight * size
        total.backward()
        with torch.no_grad():
            if given.statistics and probe.gradient is not None:
                half = probe.gradient.new_tensor([0.5 * camera.width, 0.5 * camera.height])
                self._norm += (probe.gradient * half).norm(dim=1) * visible
                self._count += visible
            for name, tensor in p.items():
                self._adam(name, tensor.grad, visible, given)
            if given.noise > 0:
                self._add_noise(given.noise, given.step)
        return StepOutput(
            float(loss.detach()),
            None if exposure is None or exposure.grad is None else exposure.grad.cpu().numpy(),
            None if pose.grad is None else pose.grad[:3].double().cpu().numpy(),
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, dtype=torch.float32, device=self._device)

    def _adam(self, name: str, grad: Tensor | None, visible: Tensor, given: StepInput) -> None:
        if grad is None:
            return
        rows = visible.nonzero()[:, 0]
        rate: Tensor | float
        columns = slice(None)
        if name == "sh":
            columns = slice(0, (given.sh_degree + 1) ** 2)
            rate = torch.full((columns.stop, 1), given.rates.sh, device=self._device)
            rate[0] = given.rates.sh0
        else:
            rate = getattr(given.rates, name)
        first, second, param = self._first[name], self._second[name], self._params[name]
        place = (rows, columns) if name == "sh" else (rows,)
        g = grad[place]
        m = BETA1 * first[place] + (1 - BETA1) * g
        v = BETA2 * second[place] + (1 - BETA2) * g * g
        first[place], second[place] = m, v
        unbiased = m / (1 - BETA1**given.step)
        param[place] -= rate * unbiased / ((v / (1 - BETA2**given.step)).sqrt() + EPSILON)

    def _add_noise(self, strength: float, step: int) -> None:
        """3DGS-MCMC, eq. 8, as in native/noise.cpp (other random numbers)."""
        opacity = torch.sigmoid(self._params["opacity_logits"])
        rows = (opacity <= 0.1).nonzero()[:, 0]
        if len(rows) == 0:
            return
        w, x, y, z = torch.nn.functional.normalize(self._params["quats"][rows], dim=1).unbind(1)
        rotation = torch.stack(
            [
                *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
                *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
                *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
            ],
            dim=1,
        ).view(-1, 3, 3)
        # A function of seed and step alone, so that a resumed training draws what an uninterrupted one does.
        mixed = int(np.random.SeedSequence([self._seed, step]).generate_state(1, np.uint32)[0])
        self._generator.manual_seed(mixed)
        normal = torch.randn(len(rows), 3, generator=self._generator, device=self._device)
        local = torch.einsum("nji,nj->ni", rotation, normal) * torch.exp(2 * self._params["log_scales"][rows])
        gate = strength * torch.sigmoid(-100 * (opacity[rows] - 0.005))
        self._params["means"][rows] += torch.einsum("nij,nj->ni", rotation, local) * gate[:, None]
