"""`light-gaussian`: prune by global significance and recover, distil the colour, VecTree quantisation.

In shares of the budget: 0 prune, 0 .. 0.5 recover on the photographs, 0.5 .. 1 distil to SH degree 2 on renders of what
was recovered (half and half, as 5,000 and 5,000 steps in the paper), then quantise and code. Without photographs, or
without fine-tuning, only the first and the last. For a file of a wanted size, the count follows from what a Gaussian
takes before anything was trained, and the least significant go at the end. docs/compression.md has the equations and
where we deviate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch

from scenerep.coding.codebook_splats import Part, encode_parts
from scenerep.coding.quantised import QuantisedSplats, quantise
from scenerep.coding.quantiser import Quantiser
from scenerep.compress.base import Job
from scenerep.compress.codebooks.learn import learn, nearest
from scenerep.compress.codebooks.pack import packed
from scenerep.compress.finetune import FineTuning, Position
from scenerep.compress.light_gaussian.config import LightGaussianConfig
from scenerep.compress.light_gaussian.distil import TeacherViews
from scenerep.compress.light_gaussian.significance import global_significance
from scenerep.compress.rates import camera_spread, fine_rates
from scenerep.compress.rdo.trainable import GaussianTrainable
from scenerep.errors import ConfigError
from scenerep.events import Compressed, Densified, Encoded, Event
from scenerep.io.srz import SrzOptions, fine_quantiser
from scenerep.render import significance
from scenerep.scenes import Gaussians
from scenerep.splats.model import Model, scene_of

_PRUNED = {"low": 0.8, "medium": 0.66, "high": 0.5, "near-lossless": 0.25}
_RECOVERED = 0.5  # of the budget
_DEGREE = 2
_SHIFT = 0.01  # of the cameras' spread: pseudo views; 0.05 world units in the paper, whose worlds have no fixed size
_CODEWORDS, _PER_CODEWORD = 8192, 8
_FIRST_BYTES = 15  # of a Gaussian, before anything was coded
_SPARE = 1.03  # that many more are trained than the size is expected to hold; the rest goes at the end
_ROUNDS = 12  # of k-means over all vectors; the paper does 1000 steps of a moving average over 80,000 of them


def compress(job: Job, config: LightGaussianConfig) -> Generator[Event]:
    """See the module's docstring; the interface is that of compress/base.py."""
    goal = job.goal
    if goal.quality is None and goal.size is None:
        raise ConfigError("light-gaussian meets no lambda and no loss", "give --target-size, --quality or --prune")
    if goal.size is not None and config.prune is not None:
        raise ConfigError("--prune and a target size say two things", "leave --prune out")
    share = config.prune if config.prune is not None else _PRUNED[goal.quality or "medium"]
    if not (0 <= share < 1 and 0 <= config.exact <= 1 and (config.codewords is None or 0 < config.codewords <= 65536)):
        raise ConfigError("an option of light-gaussian is out of range", "--prune 0 to 1, --codewords up to 65536")
    if len(job.scene) == 0:
        raise ConfigError("the scene holds no Gaussians", "train it on, or choose another file")
    work = _Work(job, config, share)
    try:
        yield from work.events()
    except GeneratorExit:
        work.save()
        raise


class _Work:
    def __init__(self, job: Job, config: LightGaussianConfig, share: float) -> None:
        self.job, self.config, self.share = job, config, share
        self.spread = camera_spread(job.views)
        self.antialiased = job.scene.antialiased
        self.teacher: Gaussians | None = None
        self.model: Model | None = None
        self.views: TeacherViews | None = None
        self.drawn, position = 0, None
        saved = job.saved()
        if saved is not None:
            teacher = {name[8:]: a for name, a in saved.arrays.items() if name.startswith("teacher.")}
            self.teacher = scene_of(teacher, self.antialiased) if teacher else None
            self.model = Model.from_state(saved.arrays, 0)
            position, self.drawn = Position(**saved.state["position"]), saved.state["drawn"]
        self.tuning = FineTuning(job.views, self.antialiased, job.seconds, job.steps, job.seed, position)

    def events(self) -> Iterator[Event]:
        before = len(self.job.scene)
        if self.model is None:
            scene = self.job.scene
            kept = self._significance(scene)
            if self.job.goal.size is not None:
                self.share = self._share_for(self.job.goal.size, kept)
            count = max(1, round(before * (1 - self.share)))
            self.model = Model(scene.select(np.sort(np.argsort(-kept, kind="stable")[:count])), 0)
            yield Densified(0, before, self.model.count)
        if self.job.views.are_photographs:
            if self.teacher is None:
                yield from self._train(self.tuning, _RECOVERED if self._distils else 1.0)
            if self._distils:
                yield from self._distil()
        scene = self._scene()
        if not self.job.views.are_photographs and self._distils:
            scene = _cut(scene)
        data, report = self._coded(scene)
        yield Encoded(self.tuning.at.step, len(data), report["count"])
        pruned = 1 - report["count"] / before
        yield Compressed(data, report | {"steps": self.tuning.at.step, "pruned": round(pruned, 4)})

    def _share_for(self, size: int, kept: np.ndarray) -> float:
        """What to remove so that the rest takes `size` bytes and a little more, by coding some of the scene."""
        scene, order = self.job.scene, np.argsort(-kept, kind="stable")
        if self._distils:
            scene = _cut(scene)
        count = max(1, min(len(scene), size // _FIRST_BYTES))
        for _ in range(3):
            data, _ = self._coded(scene.select(np.sort(order[:count])), fitted=False)
            wanted = max(1, min(len(scene), round(count * _SPARE * size / len(data))))
            if abs(wanted - count) < 0.02 * count:
                break
            count = wanted
        return 1 - count / len(scene)

    @property
    def _distils(self) -> bool:
        return self.config.distil and self.job.scene.sh_degree > _DEGREE

    def _scene(self) -> Gaussians:
        assert self.model is not None
        return self.model.scene(antialiased=self.antialiased)

    def _significance(self, scene: Gaussians) -> np.ndarray:
        cameras = [self.job.views.target(i).camera for i in range(len(self.job.views))]
        return global_significance(significance(scene, cameras), scene.log_scales)

    def _train(self, tuning: FineTuning, until: float) -> Iterator[Event]:
        assert self.model is not None
        trainable = GaussianTrainable(self.model, lambda p: fine_rates(p, self.spread), self.antialiased)
        yield from tuning.run(trainable, until)

    def _distil(self) -> Iterator[Event]:
        """The student starts as its teacher without the highest band."""
        if self.teacher is None:
            self.teacher = self._scene()
            self.model = Model(_cut(self.teacher), 0)
        self.views = TeacherViews(self.teacher, self.job.views, _SHIFT * self.spread, self.job.seed, self.drawn)
        job, at = self.job, self.tuning.at
        self.tuning = FineTuning(self.views, self.antialiased, job.seconds, job.steps, job.seed, at)
        yield from self._train(self.tuning, 1.0)

    def save(self) -> None:
        """What `__init__` goes on from."""
        if self.model is None:
            return
        arrays = self.model.state()
        if self.teacher is not None:
            arrays |= {f"teacher.{name}": a for name, a in self.teacher.arrays().items()}
        drawn = self.drawn if self.views is None else self.views.drawn
        state = {"position": vars(self.tuning.at).copy(), "drawn": drawn}
        self.job.save(self.tuning.at.step, arrays, state)

    # --- VecTree quantisation

    def _coded(self, scene: Gaussians, *, fitted: bool = True) -> tuple[bytes, dict[str, Any]]:
        """The most significant with all numbers, the others with a codebook for their colour. Without the least
        significant, if that is what it takes to come below the wanted size and `fitted` is set."""
        importance = self._significance(scene)
        order = np.argsort(-importance, kind="stable")
        exact = round(self.config.exact * len(scene))
        if scene.sh_degree != _DEGREE:
            exact = len(scene)  # the codebook is of colours of degree 2
        method: dict[str, Any] = {"name": "light-gaussian", "exact": exact}
        steps = fine_quantiser(scene, SrzOptions())
        numbers = _numbers(scene.select(np.sort(order[:exact])), steps) if exact else None
        rest = np.sort(order[exact:])
        others, codewords, index, distance = None, np.zeros((0, 27), np.float32), np.zeros(0, np.int64), 0.0
        if len(rest):
            colours = scene.select(rest).sh.reshape(len(rest), -1)
            vectors = torch.from_numpy(colours)
            size = self.config.codewords or min(_CODEWORDS, max(1, len(scene) // _PER_CODEWORD))
            simvq = self.config.simvq
            weights = torch.from_numpy(importance[rest])
            found = learn(vectors, size, weights, rounds=_ROUNDS, seed=self.job.seed, simvq=simvq)
            codewords, index = found.numpy(), nearest(vectors, found).numpy()
            distance = float(np.sqrt(np.mean((colours - codewords[index]) ** 2)))
            colourless = dataclasses.replace(scene.select(rest), sh=np.zeros((len(rest), 1, 3), np.float32))
            others = _numbers(colourless, dataclasses.replace(steps, sh_luma=(), sh_chroma=()))
            method |= {"codewords": len(codewords), "simvq": simvq}

        def coded(count: int) -> tuple[bytes, int]:
            """The `count` most significant, and how many codewords they use."""
            chosen = np.zeros(len(scene), bool)
            chosen[order[:count]] = True
            parts, used = [], 0
            if numbers is not None:
                parts.append(Part(numbers.select(chosen[np.sort(order[:exact])]), ()))
            kept = chosen[rest]
            if others is not None and kept.any():
                book = packed("colour2", codewords, index[kept], distance)
                parts.append(Part(others.select(kept), (book,)))
                used = len(book.rows)
            said = method | ({"used": round(used / len(codewords), 4)} if len(codewords) else {})
            return encode_parts(parts, scene.sh_degree, self.job.metadata | {"method": said}), used

        count = len(scene)
        data, used = coded(count)
        goal = self.job.goal.size if fitted else None
        while goal is not None and len(data) > goal and count > 1:
            count = max(1, min(count - 1, int(count * goal / len(data))))
            data, used = coded(count)
        if len(codewords):
            method["used"] = round(used / len(codewords), 4)
        return data, {"method": method, "count": count}


def _numbers(scene: Gaussians, steps: Quantiser) -> QuantisedSplats:
    return quantise(dataclasses.replace(scene, metadata={}), steps)


def _cut(scene: Gaussians) -> Gaussians:
    return dataclasses.replace(scene, sh=scene.sh[:, : (_DEGREE + 1) ** 2])
