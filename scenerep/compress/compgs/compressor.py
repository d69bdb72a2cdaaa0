"""`compgs`: anchors, coupled primitives predicted from them, and a rate that training sees.

A plan in shares of the budget:

    0 .. 0.3    plain Gaussians: rounds of removal, with training between them
    0.3         groups get anchors; networks and embeddings are fitted to the scene, then
    .. 1        to the pictures, under L + lambda R
    1           everything is rounded and coded

The paper trains from scratch for 30,000 steps on a GPU; a trained scene is a start that needs a twentieth of them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scenerep.coding.anchored import AnchoredSplats, Grid, Layout, encode_anchored
from scenerep.compress.base import Job
from scenerep.compress.compgs.config import CompgsConfig
from scenerep.compress.compgs.model import AnchoredModel
from scenerep.compress.compgs.optimiser import AnchoredAdam
from scenerep.compress.compgs.prefit import prefit, start
from scenerep.compress.finetune import FineTuning, Position, TorchTrainable
from scenerep.compress.rates import camera_spread, loss_per_error
from scenerep.compress.rdo.curvature import canonical_scene, coordinates, curvature, removal_error
from scenerep.compress.rdo.decide import LAMBDA_UNIT
from scenerep.compress.rdo.trainable import GaussianTrainable
from scenerep.errors import ConfigError
from scenerep.events import Compressed, Densified, Encoded, Event
from scenerep.scenes import Gaussians
from scenerep.splats.model import Model
from scenerep.splats.schedule import Rates

_ROUNDS = (0.0, 0.1, 0.2)
_GROUP_AT = 0.3
_MOST_REMOVED = 0.5  # of the primitives in one round
_VIEWS = 12  # looked at for a curvature
_RATE_SHARE = 8  # one in so many anchors is asked for its bits at each step

# Share of the mean squared error of the start that a halving of the bytes may cost.
_ELASTICITY = {"low": 0.4, "medium": 0.15, "high": 0.06, "near-lossless": 0.01}
_FIRST_BYTES = 20  # of a Gaussian that nothing was done to


def compress(job: Job, config: CompgsConfig) -> Generator[Event]:
    """See the module's docstring; the interface is that of compress/base.py."""
    if job.goal.size is not None or job.goal.loss is not None:
        raise ConfigError("compgs is told lambda or a quality, no size or loss", "give --lambda, or use rdo")
    if len(job.scene) == 0:
        raise ConfigError("the scene holds no Gaussians", "train it on, or choose another file")
    yield from _Work(job, config).events()


class _Work:
    def __init__(self, job: Job, config: CompgsConfig) -> None:
        self.job, self.config = job, config
        degree = min(config.sh_degree, job.scene.sh_degree)
        self.layout = Layout(
            coupled=config.coupled,
            reference=config.reference,
            residual=config.residual,
            width=config.width,
            sh_degree=degree,
        )
        self.spread = camera_spread(job.views)
        self.anchored: AnchoredModel | None = None
        self.random = torch.Generator().manual_seed(job.seed)
        saved = job.saved()
        position = None
        if saved is None:
            scene = dataclasses.replace(job.scene, sh=job.scene.sh[:, : (degree + 1) ** 2])
            scene = canonical_scene(scene, True)
            self.plain = GaussianTrainable(Model(scene, 0), self._rates, job.scene.antialiased)
            self.exchange = loss_per_error(scene, job.views)
            self.lambda_, self.rounds = self._first_lambda(), 0
        else:
            state = saved.state
            position, self.rounds = Position(**state["position"]), state["rounds"]
            self.lambda_, self.exchange = state["lambda"], state["exchange"]
            if state["grid"] is None:
                self.plain = GaussianTrainable(Model.from_state(saved.arrays, 0), self._rates, job.scene.antialiased)
                self.plain.load(saved.arrays)
            else:
                self._restore(saved.arrays, state["grid"], state["embedding_steps"])
        self.tuning = FineTuning(job.views, job.scene.antialiased, job.seconds, job.steps, job.seed, position)

    def events(self) -> Iterator[Event]:
        started = time.monotonic() - self.tuning.at.seconds
        try:
            if self.anchored is None:
                for number, at in enumerate(_ROUNDS):
                    if number >= self.rounds:
                        yield from self.tuning.run(self.plain, at)
                        before = self.plain.model.count
                        self._remove()
                        self.rounds = number + 1
                        yield Densified(self.tuning.at.step, before, self.plain.model.count)
                yield from self.tuning.run(self.plain, _GROUP_AT)
                self._anchor()
                yield self._encoded()
            yield from self.tuning.run(TorchTrainable(self._draw, [], self._step), 1.0)
        except GeneratorExit:
            self._save()
            raise
        data, scene = self._coded()
        report = {
            "lambda": self.lambda_ / LAMBDA_UNIT,
            "steps": self.tuning.at.step,
            "seconds": round(time.monotonic() - started, 1),
            "anchors": len(scene),
            "primitives": scene.primitives,
            "layout": self.layout.to_dict(),
        }
        yield Compressed(data, report)

    def _first_lambda(self) -> float:
        goal = self.job.goal
        if goal.lambda_ is not None:
            return goal.lambda_ * LAMBDA_UNIT
        assert goal.quality is not None
        error = 10 ** (-self.job.views.psnr(self.job.scene, self.job.views.some(_VIEWS)) / 10)
        return _ELASTICITY[goal.quality] * error / (8 * _FIRST_BYTES * len(self.job.scene))

    # --- plain Gaussians

    def _remove(self) -> None:
        """Leaves out what is not worth the bits of a primitive, some at a time."""
        model = self.plain.model
        scene = self._normalised()
        views = self.job.views
        h = curvature(scene, views, views.some(_VIEWS), self.job.seed + self.rounds)
        error = removal_error(coordinates(scene), h)
        least = np.quantile(error, _MOST_REMOVED)
        gone = error < min(least, self.lambda_ * self.config.primitive_bits / self.config.recovery)
        if gone.all():
            gone[np.argmax(error)] = False
        model.remove(gone)
        self.plain.refresh()

    def _normalised(self) -> Gaussians:
        """The scene in canonical form, which its parameters take on as well."""
        model = self.plain.model
        scene = canonical_scene(self.plain.scene(), True)
        model.params["quats"][:], model.params["log_scales"][:] = scene.quats, scene.log_scales
        return self.plain.scene()

    def _rates(self, progress: float) -> Rates:
        cool = float(np.interp(progress, [0.0, _GROUP_AT], [1.0, 0.6]))
        return Rates(1e-4 * self.spread, 5e-3 * cool, 1e-3 * cool, 3e-2 * cool, 2.5e-3 * cool, 2.5e-4 * cool)

    # --- anchors

    def _anchor(self) -> None:
        scene, views = self._normalised(), self.job.views
        h = curvature(scene, views, views.some(_VIEWS), self.job.seed + 17)
        self.anchored, target = start(scene, h, self.layout, self.lambda_, self.job.seed)
        self.adam = AnchoredAdam(self.anchored)
        for _ in prefit(self.anchored, target, self.lambda_, self.config.prefit, self.adam, self.job.seed):
            pass
        self.adam = AnchoredAdam(self.anchored)

    def _draw(self) -> tuple[list[Tensor], Tensor]:
        assert self.anchored is not None
        n = len(self.anchored.positions)
        rows = torch.randperm(n, generator=self.random)[: max(1, n // _RATE_SHARE)]
        bits = self.anchored.bits(self.anchored.chosen(rows), self.random) * (n / len(rows))
        self.adam.zero_grad()
        return self.anchored.gaussians(), bits * (self.lambda_ * self.exchange)

    def _step(self, step: int, progress: float) -> None:
        self.adam.step(float(np.interp(progress, [_GROUP_AT, 0.5, 1.0], [0.5, 0.5, 0.05])))

    def _coded(self) -> tuple[bytes, AnchoredSplats]:
        assert self.anchored is not None
        scene = self.anchored.integers(self.job.scene.antialiased, self.job.metadata)
        return encode_anchored(scene), scene

    def _encoded(self) -> Encoded:
        data, scene = self._coded()
        return Encoded(self.tuning.at.step, len(data), scene.primitives)

    # --- saving

    def _save(self) -> None:
        state: dict[str, Any] = {
            "position": vars(self.tuning.at).copy(),
            "rounds": self.rounds,
            "lambda": self.lambda_,
            "exchange": self.exchange,
            "grid": None,
        }
        if self.anchored is None:
            arrays = self.plain.model.state() | self.plain.state()
        else:
            grid = self.anchored.grid
            state["grid"], state["embedding_steps"] = dataclasses.asdict(grid), self.anchored.embedding_steps
            arrays = {f"net.{name}": p.detach().numpy() for name, p in self.anchored.named_parameters()}
            arrays |= {"positions": self.anchored.positions, "random": self.random.get_state().numpy()}
            arrays |= self.adam.state()
        self.job.save(self.tuning.at.step, arrays, state)

    def _restore(self, arrays: dict[str, np.ndarray], grid: dict[str, Any], steps: dict[str, float]) -> None:
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in grid.items()}
        scales = np.zeros((len(arrays["positions"]), 6))
        self.anchored = AnchoredModel(self.layout, Grid(**fields), arrays["positions"], scales, self.job.seed)
        self.anchored.embedding_steps = steps
        with torch.no_grad():
            for name, p in self.anchored.named_parameters():
                p.copy_(torch.from_numpy(arrays[f"net.{name}"]))
        self.adam = AnchoredAdam(self.anchored)
        self.adam.load(arrays)
        self.random.set_state(torch.from_numpy(arrays["random"].copy()))
