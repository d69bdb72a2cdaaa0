"""`rdo-gaussian`: learned masks and entropy-constrained vector quantisation, fine-tuned on photographs.

In shares of the budget, those of the published schedule between its 15,000th step, where it starts from a trained
scene as we do, and its 30,000th: 0 masks and codebooks, 1/3 the rate joins the loss and dead codewords are no longer
revived, 0.8 the codebooks' learning rates fall to a tenth. docs/compression.md has the equations and where we deviate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch

from scenerep.coding.codebook_splats import Codebook, Part, encode_parts
from scenerep.coding.quantised import quantise
from scenerep.compress.base import Job
from scenerep.compress.codebooks.pack import packed
from scenerep.compress.finetune import FineTuning, TorchTrainable
from scenerep.compress.rates import camera_spread
from scenerep.compress.rdo_gaussian.config import RdoGaussianConfig
from scenerep.compress.rdo_gaussian.model import Masked
from scenerep.errors import ConfigError, DataError
from scenerep.events import Compressed, Densified, Encoded, Event
from scenerep.io.srz import SrzOptions, fine_quantiser
from scenerep.splats.model import scene_of

_LAMBDA = {"low": 0.02, "medium": 0.005, "high": 0.0015, "near-lossless": 0.0005}
_BANDS = 10.0  # weight of the bands' masks against that of the Gaussians'
_RATE_FROM, _COOL_FROM = 1 / 3, 0.8
_REFRESH, _REVIVE, _REMOVE = 50, 100, 50  # steps; the paper refreshes every 10 of 15,000 and revives every 1000
_CODEWORDS, _PER_CODEWORD = 8192, 128


def compress(job: Job, config: RdoGaussianConfig) -> Generator[Event]:
    """See the module's docstring; the interface is that of compress/base.py. An interrupted job starts anew."""
    lambda_ = job.goal.lambda_ if job.goal.quality is None else _LAMBDA[job.goal.quality]
    if lambda_ is None:
        raise ConfigError("rdo-gaussian meets no size and no loss", "give --lambda, 0.0005 to 0.05, or --quality")
    if not config.vq_lambda > 0 or (config.codewords is not None and not 2 <= config.codewords <= 65536):
        raise ConfigError("an option of rdo-gaussian is out of range", "--codewords 2 to 65536, --vq-lambda above 0")
    if len(job.scene) == 0:
        raise ConfigError("the scene holds no Gaussians", "train it on, or choose another file")
    if not job.views.are_photographs:
        raise DataError("rdo-gaussian learns on photographs, and there are none", "give a run, or --data with the file")
    yield from _train(job, config, lambda_)


def _train(job: Job, config: RdoGaussianConfig, lambda_: float) -> Iterator[Event]:
    masked = Masked(job.scene, (lambda_, _BANDS * lambda_), camera_spread(job.views))
    size = config.codewords or min(_CODEWORDS, max(2, len(job.scene) // _PER_CODEWORD))
    masked.start_quantising(size, config.vq_lambda, job.seed, config.simvq)
    rng = np.random.default_rng([job.seed, 1])

    def after(step: int, progress: float) -> None:
        if step % _REMOVE == 0:
            masked.remove_masked()
            trainable.optimisers = [masked.optimiser]
        if progress < _RATE_FROM and step % _REVIVE == 0:
            masked.revive(rng)
        if step % _REFRESH == 0:
            masked.refresh()
        masked.with_rate, masked.cooled = progress >= _RATE_FROM, progress >= _COOL_FROM
        masked.schedule(progress)

    trainable = TorchTrainable(masked.function, [masked.optimiser], after)
    masked.schedule(0.0)
    tuning = FineTuning(job.views, job.scene.antialiased, job.seconds, job.steps, job.seed)
    count = len(job.scene)
    for event in tuning.run(trainable):
        yield event
        if len(masked.gaussian_mask) != count:
            yield Densified(event.step, count, len(masked.gaussian_mask))
            count = len(masked.gaussian_mask)
    masked.remove_masked()
    masked.refresh()
    data, report = _coded(job, config, masked)
    yield Encoded(tuning.at.step, len(data), len(masked.gaussian_mask))
    yield Compressed(data, report | {"lambda": lambda_, "steps": tuning.at.step, "count": len(masked.gaussian_mask)})


def _coded(job: Job, config: RdoGaussianConfig, masked: Masked) -> tuple[bytes, dict[str, Any]]:
    """Positions and opacities as numbers, all else by codebooks."""
    scene = scene_of({name: tensor.detach().numpy() for name, tensor in masked.params.items()}, job.scene.antialiased)
    steps = fine_quantiser(scene, SrzOptions(canonical=False))
    splats = quantise(scene, steps)
    none = {"log_scales": (3,), "rotations": (3,), "colours": (3,), "sh": (0, 3)}
    steps = dataclasses.replace(steps, sh_luma=(), sh_chroma=())
    zeros = {name: np.zeros((len(scene), *shape), np.int32) for name, shape in none.items()}
    splats = dataclasses.replace(splats, quantiser=steps, metadata={}, **zeros)
    books: list[Codebook] = []
    said: dict[str, Any] = {}
    for attribute, quantiser in masked.quantisers.items():
        with torch.no_grad():
            users = masked.users(attribute).numpy()
            index = np.where(users, quantiser.index.numpy(), -1)
            codewords = quantiser.codewords().numpy()
            vectors = masked.vectors(attribute).numpy()
        if not users.any():
            continue
        distance = float(np.sqrt(((vectors - codewords[index])[users] ** 2).mean()))
        books.append(packed(attribute, codewords, index, distance))
        said[attribute] = {"codewords": len(codewords), "used": round(len(books[-1].rows) / len(codewords), 4)}
    method = {"name": "rdo-gaussian", "simvq": config.simvq, "codebooks": said}
    data = encode_parts([Part(splats, tuple(books))], job.scene.sh_degree, job.metadata | {"method": method})
    return data, {"method": method}
