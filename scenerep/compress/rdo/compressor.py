"""`rdo`: count, colour detail, steps and values of a scene chosen together under one lambda.

With photographs, a plan of decisions with fine-tuning between them, at shares of the budget:

    0 .. 0.5    rounds: estimate the curvature, leave out what costs more bits than it is worth, train on while the
                slope of the bits shrinks the view-dependent colour
    0.55        steps; from here on what is drawn is quantised
    0.7         a last round, new steps
    0.85        rounding is optimised; positions, scales and rotations stay as they are
    1           the rest is rounded and everything is coded

Without photographs, one decision on the curvature in renders of the scene itself.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np

from scenerep.coding import Quantiser, decode, dequantise, encode, quantise
from scenerep.compress.base import Job
from scenerep.compress.finetune import FineTuning, Position
from scenerep.compress.rates import camera_spread, fine_rates, loss_per_error
from scenerep.compress.rdo.config import RdoConfig
from scenerep.compress.rdo.curvature import (
    Arrays,
    canonical_scene,
    coordinates,
    curvature,
    curvatures,
    removal_error,
)
from scenerep.compress.rdo.decide import LAMBDA_UNIT, Decision, decide, solve
from scenerep.compress.rdo.layers import layered
from scenerep.compress.rdo.proxy import RateProxy
from scenerep.compress.rdo.rdoq import optimise_sh
from scenerep.compress.rdo.trainable import GEOMETRY, GaussianTrainable
from scenerep.errors import ConfigError
from scenerep.events import Compressed, Densified, Encoded, Event, Saved
from scenerep.scenes import Gaussians
from scenerep.splats.model import NAMES, Model

_ROUNDS = 7
_SHRINK_UNTIL = 0.5
_PLAN = (
    *(("prune", _SHRINK_UNTIL * i / (_ROUNDS - 1)) for i in range(_ROUNDS)),
    ("quantise", 0.55),
    ("prune", 0.7),
    ("freeze", 0.85),
)
_VIEWS = 16  # looked at for a curvature: it is a mean over all pixels of each
_RENDERS = 32  # the same, where they are renders from all sides
_SAVE_SECONDS = 60.0
_MOST_REMOVED = 0.3  # of the Gaussians in one round: errors of removals add up only while they are few
_SIZE_TOLERANCE = 0.02
_LAMBDA_PER_SIZE = 2.2  # lambda grows with about this power of the bytes that are to be saved
_FIRST_BYTES = 20  # of a Gaussian, before anything was decided

# Without photographs nothing is trained afterwards, and the views that matter are not known. Errors of neighbours
# that have the same sign (less view-dependent colour, less opacity) were measured at 3 to 16 times what the curvature
# says; and a few Gaussians near to a camera that nobody will use must not set the steps for all.
_ALONE: dict[str, Any] = {"caution": 30.0, "remaining": 3.0, "outliers": 0.99}

_REMOVALS_SHARE = 0.6  # of the loss allowed, for the rounds; the rest is for steps and rounding

# Share of the mean squared error of the start that a halving of the bytes may cost, and, where there are no
# photographs, PSNR [dB] against the renders of the scene itself.
_ELASTICITY = {"low": 0.4, "medium": 0.15, "high": 0.06, "near-lossless": 0.01}
_RENDER_PSNR = {"low": 36.0, "medium": 40.0, "high": 45.0, "near-lossless": 52.0}
_TYPICAL_HEAD = 1500  # bytes
_CHECKED = 6  # pictures
_TYPICAL_PSNR = 30.0  # of a scene against photographs that nobody has


def compress(job: Job, config: RdoConfig) -> Generator[Event]:
    """See the module's docstring; the interface is that of compress/base.py."""
    if not 1 <= config.layers <= 8:
        raise ConfigError(f"--layers is {config.layers}", "use 1 to 8")
    if len(job.scene) == 0:
        raise ConfigError("the scene holds no Gaussians", "train it on, or choose another file")
    if job.views.are_photographs and config.fine_tune:
        yield from _Tuned(job, config).events()
    else:
        yield from _post_training(job, config)


# --- without photographs


def _post_training(job: Job, config: RdoConfig) -> Iterator[Event]:
    started = time.monotonic()
    forms = {"yes": (True,), "no": (False,), "auto": (True, False)}[config.canonical]
    scenes = [canonical_scene(job.scene, canonical) for canonical in forms]
    found = curvatures(scenes, job.views, job.views.some(_RENDERS), job.seed)
    trials = [_Trial(job, config, *parts) for parts in zip(scenes, found, forms)]
    best = trials[0]
    chosen = best.meet_goal(LAMBDA_UNIT)
    yield Encoded(0, round(chosen.bytes), int(chosen.keep.sum()))
    for trial in trials[1:]:
        # Both at one lambda: the search for the goal is worth repeating for a better form only.
        if _objective(trial.at(chosen.lambda_)) < _objective(best.at(chosen.lambda_)):
            best, chosen = trial, trial.meet_goal(chosen.lambda_)
            yield Encoded(0, round(chosen.bytes), int(chosen.keep.sum()))
    data = _coded(job, config, chosen, removal_error(best.x, best.h)[chosen.keep])
    report = {"lambda": chosen.lambda_ / LAMBDA_UNIT, "seconds": round(time.monotonic() - started, 2)}
    yield Compressed(data, report | {"expected_psnr": -10 * float(np.log10(max(chosen.error, 1e-12)))})


def _objective(decision: Decision) -> float:
    return decision.error + decision.lambda_ * float(decision.bits.sum())


class _Trial:
    """Decisions on one form of the scene."""

    def __init__(self, job: Job, config: RdoConfig, scene: Gaussians, h: Arrays, canonical: bool) -> None:
        self._job, self._config, self._scene, self._canonical = job, config, scene, canonical
        self.x, self.h = coordinates(scene), h
        self._kept: dict[float, Decision] = {}

    def at(self, lambda_: float) -> Decision:
        """What to do at a lambda."""
        if lambda_ not in self._kept:
            self._kept[lambda_] = decide(self._scene, self.x, self.h, lambda_, self._config, self._canonical, **_ALONE)
        return self._kept[lambda_]

    def meet_goal(self, start: float) -> Decision:
        """`start`: a lambda that is thought to be near, for goals other than a lambda."""
        job, goal = self._job, self._job.goal
        if goal.lambda_ is not None:
            return self.at(goal.lambda_ * LAMBDA_UNIT)
        if goal.size is not None:
            return self._within_size(goal.size, start)
        if goal.quality is not None:
            error = 10 ** (-_RENDER_PSNR[goal.quality] / 10)
        else:
            assert goal.loss is not None
            error = 10 ** (-_TYPICAL_PSNR / 10) * (10 ** (goal.loss / 10) - 1)
        wanted, numbers = error, job.views.some(_CHECKED)
        for _ in range(3):  # errors of neighbouring removals have the same sign, which the curvature does not know
            start, _ = solve(lambda value: self.at(value).error, wanted, start, tolerance=0.05)
            real = 10 ** (-job.views.psnr(dequantise(self.at(start).quantised), numbers) / 10)
            if 0.9 * error <= real <= 1.05 * error:
                break
            wanted *= error / real
        return self.at(start)

    def _within_size(self, size: int, start: float) -> Decision:
        head = _TYPICAL_HEAD
        found = self.at(start)
        for _ in range(2):  # the head and the layers' overhead show when everything is coded
            mu, expected = solve(lambda mu, head=head: self.at(1 / mu).bytes + head, size, 1 / start, tolerance=0.01)
            start = 1 / mu
            found = self.at(start)
            q = dataclasses.replace(found.quantised, metadata=self._job.metadata)
            coded = encode(layered(q, removal_error(self.x, self.h)[found.keep], self._config.layers))
            if 0.985 * size <= len(coded) <= size:
                break
            head += len(coded) - expected
        return found


def _coded(job: Job, config: RdoConfig, decision: Decision, importance: np.ndarray) -> bytes:
    """The file; of the wanted size, if there is one, by leaving out the least important."""
    q = dataclasses.replace(decision.quantised, metadata=job.metadata)
    order = np.argsort(importance)
    left = len(q)
    while True:
        keep = np.sort(order[len(q) - left :])
        data = encode(layered(q.select(keep), importance[keep], config.layers))
        if job.goal.size is None or len(data) <= job.goal.size or left <= 1:
            return data
        left = max(1, min(left - 1, int(left * job.goal.size / len(data))))


# --- with photographs


class _Tuned:
    def __init__(self, job: Job, config: RdoConfig) -> None:
        self.job, self.config = job, config
        self.canonical = config.canonical != "no"
        self.seed = job.seed
        self.antialiased = job.scene.antialiased
        self.report: dict[str, Any] = {}
        saved = job.saved()
        self.done = 0
        self.quantiser: Quantiser | None = None
        position = None
        if saved is None:
            model = Model(canonical_scene(_cut(job.scene, config.sh_degree), self.canonical), 0)
            self.lambda_ = 0.0
            colour_mask = None
        else:
            colour_mask = saved.arrays.pop("colour_mask", None)
            model = Model.from_state(saved.arrays, 0)
            state = saved.state
            position, self.done, self.lambda_ = Position(**state["position"]), state["done"], state["lambda"]
            self.report, self.exchange = state["report"], state["exchange"]
            self.first_bytes, self.first_error = state["first_bytes"], state["first_error"]
            if state["quantiser"] is not None:
                self.quantiser = _quantiser_of(state["quantiser"])
        self.first_psnr = (job.held_out or job.views).psnr(job.scene) if job.goal.loss is not None else 0.0
        self.spread = camera_spread(job.views)
        self.trainable = GaussianTrainable(model, lambda p: fine_rates(p, self.spread), self.antialiased)
        self.trainable.colour_mask = colour_mask
        if colour_mask is not None:
            self.trainable.frozen = GEOMETRY
        self.proxy: RateProxy | None = None
        if saved is None:
            self.exchange = loss_per_error(self.trainable.scene(), job.views)
        else:
            self.trainable.load(saved.arrays)
            proxy = {name[6:]: a for name, a in saved.arrays.items() if name.startswith("proxy.")}
            self._pull(RateProxy(proxy) if proxy else None)
        self.tuning = FineTuning(job.views, self.antialiased, job.seconds, job.steps, job.seed, position)
        self.saved_at = time.monotonic()

    def events(self) -> Iterator[Event]:
        try:
            if self.done == 0 and self.lambda_ == 0.0:
                self._start()
            self._apply_stage()
            for number, (action, at) in enumerate(_PLAN):
                if number < self.done:
                    continue
                yield from self._train(at)
                before = self.trainable.model.count
                size = {"prune": self._prune, "quantise": self._quantise, "freeze": self._freeze}[action]()
                self.done = number + 1
                self.trainable.refresh()
                at_step = self.tuning.at.step
                if self.trainable.model.count != before:
                    yield Densified(at_step, before, self.trainable.model.count)
                yield Encoded(at_step, size, self.trainable.model.count)
            yield from self._train(1.0)
        except GeneratorExit:
            self._save()
            raise
        yield from self._finish()

    def _train(self, until: float) -> Iterator[Event]:
        for event in self.tuning.run(self.trainable, until):
            before = time.monotonic()
            yield event
            outside = time.monotonic() - before
            if outside > 1.0:
                self.tuning.pause(outside)
            if time.monotonic() - self.saved_at > _SAVE_SECONDS:
                path = self._save()
                if path is not None:
                    yield Saved(event.step, path)

    # --- decisions

    def _start(self) -> None:
        """lambda from the goal, as well as it can be said before anything was done."""
        job, scene, goal = self.job, self.trainable.scene(), self.job.goal
        self.first_error = 10 ** (-job.views.psnr(scene, job.views.some(_VIEWS)) / 10)
        self.first_bytes = float(_FIRST_BYTES * len(scene))
        if goal.lambda_ is not None:
            self.lambda_ = goal.lambda_ * LAMBDA_UNIT
        elif goal.loss is not None:
            error = 10 ** (-self.first_psnr / 10)
            self.lambda_ = 0.5 * error * (10 ** (goal.loss / 10) - 1) / (8 * self.first_bytes)
        elif goal.quality is not None:
            self.lambda_ = _ELASTICITY[goal.quality] * self.first_error / (8 * self.first_bytes)
        else:
            self.lambda_ = 0.1 * self.first_error / (8 * self.first_bytes)
        self.report["first_error"] = self.first_error

    def _curvature(self, scene: Gaussians) -> Arrays:
        return curvature(scene, self.job.views, self.job.views.some(_VIEWS), self.seed + self.done)

    def _decide(self, *, most: float, quantiser: Quantiser | None = None) -> tuple[Decision, Arrays]:
        """For the goal, as far as it can be met at this point of the plan."""
        scene = self.trainable.scene()
        h = self._curvature(scene)
        remaining = self.config.recovery if self.done < len(_PLAN) - 2 else 1.0

        x = coordinates(scene)

        def at(lambda_: float) -> Decision:
            return decide(
                scene, x, h, lambda_, self.config, self.canonical, remaining=remaining, most=most, quantiser=quantiser
            )

        if self.job.goal.loss is not None:
            return self._within_loss(at, scene), h
        found = at(self.lambda_)
        if self.job.goal.size is not None:
            # Towards the wanted size along a curve, so that each round does its share; sooner rather than later, since
            # fewer Gaussians train faster. The next round sees how far this one has come.
            share = 1 - max(0.0, 1 - (self.done + 1) / _ROUNDS) ** 1.7
            wanted = 0.985 * max(self.job.goal.size, self.first_bytes ** (1 - share) * self.job.goal.size**share)
            for _ in range(2):
                change = float(np.clip((found.bytes / wanted) ** _LAMBDA_PER_SIZE, 0.2, 5.0))
                if abs(change - 1) < 0.03:
                    break
                self.lambda_ *= change
                found = at(self.lambda_)
        return found, h

    def _within_loss(self, at: Callable[[float], Decision], scene: Gaussians) -> Decision:
        """While rounds last, lambda follows what training on makes of its removals; then it is what may be lost."""
        goal = self.job.goal.loss
        assert goal is not None
        if self.quantiser is None and self.done < _ROUNDS:
            allowed = _REMOVALS_SHARE * goal * min(1.0, (self.done + 1) / _ROUNDS)
            if self.done > 0:
                self.lambda_ *= 1.5 if self._lost(scene) < allowed else 1 / 2.5
            return at(self.lambda_)

        def lost(lambda_: float) -> float:
            return max(self._lost(dequantise(at(lambda_).quantised)), 1e-6)

        # Training on will make up for some of it, except at the end.
        allowed = goal * (1.2 if self.done < len(_PLAN) - 1 else 0.9)
        self.lambda_, _ = solve(lost, allowed, self.lambda_, tolerance=0.1, most=5)
        return at(self.lambda_)

    def _lost(self, scene: Gaussians) -> float:
        """PSNR below that of the start, on the held-out photographs where there are any."""
        return self.first_psnr - (self.job.held_out or self.job.views).psnr(scene)

    def _prune(self) -> int:
        self._normalise()
        decision, _ = self._decide(most=_MOST_REMOVED if self.config.prune else 0.0)
        if not decision.keep.all():
            self.trainable.model.remove(~decision.keep)
        if self.quantiser is not None:
            self.quantiser = decision.quantised.quantiser
        self._pull(RateProxy.of(self.trainable.scene(), decision.quantised) if self.config.shrink else None)
        self._apply_stage()
        return round(decision.bytes)

    def _quantise(self) -> int:
        self._normalise()
        decision, _ = self._decide(most=0.0)
        self.quantiser = decision.quantised.quantiser
        self._pull(RateProxy.of(self.trainable.scene(), decision.quantised) if self.config.shrink else None)
        self._apply_stage()
        return round(decision.bytes)

    def _freeze(self) -> int:
        self._normalise()
        decision, _ = self._decide(most=0.0)
        q = decision.quantised
        self.quantiser = q.quantiser
        decoded = dequantise(q).arrays()
        params = self.trainable.model.params
        for name in GEOMETRY:
            params[name][:] = decoded[name]
        mask = np.ones(params["sh"].shape, bool)
        mask[:, 1:] = False
        mask[:, 1 : 1 + q.sh.shape[1]] = (q.sh != 0).any(axis=2, keepdims=True)
        params["sh"] *= mask
        self.trainable.colour_mask, self.trainable.frozen = mask, GEOMETRY
        self._pull(None)
        self._apply_stage()
        return round(decision.bytes)

    def _normalise(self) -> None:
        """Unit quaternions in the form that is coded; moments go with the axes that they belong to only roughly."""
        model = self.trainable.model
        scene = canonical_scene(self.trainable.scene(), self.canonical)
        model.params["quats"][:], model.params["log_scales"][:] = scene.quats, scene.log_scales

    def _pull(self, proxy: RateProxy | None) -> None:
        """The slope of the bits, from now on."""
        self.proxy, self.trainable.slopes = proxy, None
        if proxy is not None:
            weight = np.float32(self.exchange * self.lambda_)
            self.trainable.slopes = lambda scene: {name: a * weight for name, a in proxy.slopes(scene).items()}

    def _apply_stage(self) -> None:
        """What is drawn, by the stage that the work is at."""
        quantiser = self.quantiser
        if quantiser is None or not self.config.quantised_training:
            self.trainable.quantised = None
            return
        plain = dataclasses.replace(quantiser, canonical=False)  # the axes were put in order when the steps were chosen
        zone = 0.15 if self.config.rdoq and self.trainable.colour_mask is None else 0.0
        self.trainable.quantised = lambda scene: _padded(
            dequantise(quantise(scene, plain, sh_dead_zone=zone)), scene.sh.shape[1]
        )

    # --- the end

    def _finish(self) -> Iterator[Event]:
        scene = canonical_scene(self.trainable.scene(), self.canonical)
        h = self._curvature(scene)
        importance = removal_error(coordinates(scene), h)
        data = self._fitted(scene, h, importance)
        self.report |= {
            "lambda": self.lambda_ / LAMBDA_UNIT,
            "steps": self.tuning.at.step,
            "seconds": round(self.tuning.at.seconds, 1),
            "count": len(scene),
            "quantiser": self.quantiser.to_dict() if self.quantiser else None,
        }
        yield Compressed(data, self.report)

    def _fitted(self, scene: Gaussians, h: Arrays, importance: np.ndarray) -> bytes:
        goal = self.job.goal.size
        base = self.quantiser
        assert base is not None
        kept: dict[float, bytes] = {}

        def at(scale: float) -> bytes:
            """Coded with finer (scale > 1) or coarser steps of what is not frozen."""
            if scale not in kept:
                steps = dataclasses.replace(
                    base,
                    opacity=base.opacity / scale,
                    colour_luma=base.colour_luma / scale,
                    colour_chroma=base.colour_chroma / scale,
                    sh_luma=tuple(s / scale for s in base.sh_luma),
                    sh_chroma=tuple(s / scale for s in base.sh_chroma),
                )
                q = quantise(scene, steps)
                if self.config.rdoq:
                    q = optimise_sh(q, coordinates(scene), h, self.lambda_ / scale**2 / self.config.caution)
                q = dataclasses.replace(q, metadata=self.job.metadata)
                kept[scale] = encode(layered(q, importance, self.config.layers))
            return kept[scale]

        if self.job.goal.loss is not None:
            return self._least_within_loss(at, self.job.goal.loss)
        if goal is None:
            return at(1.0)
        scale, size = solve(lambda s: float(len(at(s))), float(goal), 1.0, tolerance=_SIZE_TOLERANCE / 2, most=10)
        if size <= goal:
            return at(scale)
        decision = Decision(quantise(scene, base), np.ones(len(scene), bool), np.zeros(len(scene)), 0.0, self.lambda_)
        return _coded(self.job, self.config, decision, importance)

    def _least_within_loss(self, at: Callable[[float], bytes], goal: float) -> bytes:
        """The coarsest of the steps that are left to choose that lose no more than the goal; else the finest."""
        scale = 1.0
        for candidate in (0.7, 0.85, 1.0, 1.2, 1.5, 2.0):
            scale = candidate
            if self._lost(dequantise(decode(at(candidate)))) <= goal:
                break
        return at(scale)

    # --- saving

    def _save(self) -> Any:
        arrays = self.trainable.model.state() | self.trainable.state()
        if self.proxy is not None:
            arrays |= {f"proxy.{name}": a for name, a in self.proxy.arrays.items()}
        if self.trainable.colour_mask is not None:
            arrays["colour_mask"] = self.trainable.colour_mask
        if self.lambda_ == 0.0:
            return None
        state = {
            "position": vars(self.tuning.at).copy(),
            "done": self.done,
            "lambda": self.lambda_,
            "first_bytes": self.first_bytes,
            "first_error": self.first_error,
            "quantiser": None if self.quantiser is None else self.quantiser.to_dict(),
            "report": self.report,
            "exchange": self.exchange,
            "scene_arrays": list(NAMES),
        }
        self.saved_at = time.monotonic()
        return self.job.save(self.tuning.at.step, arrays, state)


def _cut(scene: Gaussians, degree: int) -> Gaussians:
    return dataclasses.replace(scene, sh=scene.sh[:, : (min(degree, scene.sh_degree) + 1) ** 2])


def _padded(scene: Gaussians, coefficients: int) -> Gaussians:
    missing = coefficients - scene.sh.shape[1]
    if missing == 0:
        return scene
    return dataclasses.replace(scene, sh=np.pad(scene.sh, ((0, 0), (0, missing), (0, 0))))


def _quantiser_of(values: dict[str, Any]) -> Quantiser:
    given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return Quantiser(**given)
