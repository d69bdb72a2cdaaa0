"""Small models, captures and steps for the tests of the trainer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scenerep.captures import Capture
from scenerep.events import Event
from scenerep.geometry.cameras import Camera
from scenerep.runs import Run
from scenerep.scenes import Gaussians
from scenerep.splats.config import DensifyConfig, InitConfig, SplatsConfig
from scenerep.splats.engine import StepInput
from scenerep.splats.model import Model
from scenerep.splats.schedule import Rates, rates_at
from scenerep.splats.targets import Target
from scenerep.splats.train import train

# So few Gaussians and steps that a training takes a second. There are two refinements, at steps 100 (the earliest) and
# 120, and both choose some of the Gaussians, not all, so that all that a choice depends on matters.
STEPS = 150
SMALL = SplatsConfig(
    steps=STEPS,
    max_gaussians=180,
    sh_degree=1,
    init=InitConfig(points=120),
    densify=DensifyConfig(every=20, grow_until=0.8, refine_until=0.85),
)


def small(strategy: str | None = None, **changes: Any) -> SplatsConfig:
    """`SMALL` with changes; `strategy` is that of the densification."""
    config = replace(SMALL, **changes)
    return config if strategy is None else replace(config, densify=replace(config.densify, strategy=strategy))


def new_run(folder: Path, capture: Capture, config: SplatsConfig, seed: int = 0) -> Run:
    return Run.create(folder, "splats", config, capture.root, seed=seed)


def trained(folder: Path, capture: Capture, config: SplatsConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """All arrays of the last checkpoint of a whole training: scene, moments, statistics, corrections."""
    run = new_run(folder, capture, config, seed)
    for _ in train(run, capture, config):
        pass
    return last_arrays(run)


def last_arrays(run: Run) -> dict[str, np.ndarray]:
    found = run.latest_checkpoint()
    assert found is not None
    return found.arrays


def train_until(events: Iterator[Event], step: int) -> None:
    """Takes events up to and with that step's, then closes the training."""
    for event in events:
        if getattr(event, "step", 0) >= step:
            break
    events.close()  # type: ignore[attr-defined]


def assert_same_arrays(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Same names, shapes and bits."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def random_scene(rng: np.random.Generator, count: int, degree: int = 1) -> Gaussians:
    """Blobs in front of `front_camera`, some of them dead (opacity below 0.005)."""
    logits = rng.uniform(-3, 4, count)
    logits[rng.random(count) < 0.2] = -7
    return Gaussians(
        means=rng.uniform([-1, -1, 3], [1, 1, 5], (count, 3)),
        log_scales=rng.uniform(-3, -1, (count, 3)),
        quats=rng.normal(size=(count, 4)),
        opacity_logits=logits,
        sh=rng.normal(0, 0.4, (count, (degree + 1) ** 2, 3)),
    )


def random_model(rng: np.random.Generator, count: int, capacity: int | None = None, degree: int = 1) -> Model:
    """A model in the middle of a training: moments and statistics are not zero."""
    model = Model(random_scene(rng, count, degree), count if capacity is None else capacity)
    for group in (model.first, model.second):
        for array in group.values():
            array[:count] = rng.random((count, *array.shape[1:]))
    model.screen_count[:count] = rng.integers(0, 9, count)
    model.screen_norm[:count] = rng.random(count) * 1e-3 * (model.screen_count[:count] > 0)
    return model


def front_camera(width: int = 40, height: int = 32) -> Camera:
    return Camera(45.0, 44.0, width / 2 + 0.7, height / 2 - 0.4, width, height)


def step_input(rng: np.random.Generator, config: SplatsConfig, **changes: Any) -> StepInput:
    """The first step towards a smooth random picture."""
    camera = front_camera()
    x = np.arange(camera.width)[None, :, None] / camera.width
    y = np.arange(camera.height)[:, None, None] / camera.height
    a, b, c = rng.uniform(1, 5, (3, 3))
    rgb = np.round(255 * (0.5 + 0.4 * np.sin(a * x + b * y + c))).astype(np.uint8)
    given = StepInput(
        step=1,
        target=Target(camera, rgb, None, None),
        camera=camera,
        background=np.array([0.2, 0.5, 0.7], np.float32),
        sh_degree=1,
        rates=rates_at(config, 0.0, 1.0),
        opacity_weight=0.01,
        scale_weight=0.01,
        depth_weight=0.0,
        noise=0.0,
        statistics=True,
    )
    return replace(given, **changes)


STILL = Rates(means=0.0, log_scales=0.0, quats=0.0, opacity_logits=0.0, sh0=0.0, sh=0.0)
