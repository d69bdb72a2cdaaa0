"""A training step makes no large array or buffer once it has seen every view."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from splat_cases import random_scene, small, step_input

from scenerep.captures import Capture
from scenerep.native import native
from scenerep.splats.engine import NativeEngine, StepInput
from scenerep.splats.model import Model
from scenerep.splats.targets import Target, Targets, over

WIDTH, HEIGHT = 320, 200
SMALL_BYTES = 150_000  # less than a float picture of one channel (256 kB)


@contextmanager
def allocations() -> Iterator[Callable[[], tuple[int, int]]]:
    """Gives a function that says what was allocated since its last call: the peak of what Python and NumPy held at
    once, above what they held then, and the kernels' buffers, by number."""
    tracemalloc.start()
    last = {"held": 0, "buffers": 0}

    def since() -> tuple[int, int]:
        held, peak = tracemalloc.get_traced_memory()
        buffers = native().allocations()[0]
        found = peak - last["held"], buffers - last["buffers"]
        tracemalloc.reset_peak()
        last.update(held=held, buffers=buffers)
        return found

    try:
        since()
        yield since
    finally:
        tracemalloc.stop()


def _views(name: str, rng: np.random.Generator) -> list[StepInput]:
    """Steps on four cameras, with what the case is named after."""
    base = step_input(rng, small())
    steps = []
    for view in range(4):
        camera = replace(base.camera.resized(WIDTH, HEIGHT), cx=WIDTH / 2 + 10.0 * view)
        rgb = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        mask = depth = None
        given = replace(base, camera=camera, noise=1.0)
        if "mask" in name:
            mask = (rng.random((HEIGHT, WIDTH)) < 0.9).astype(np.uint8)
        if "depth" in name:
            depth = rng.uniform(3, 5, (HEIGHT, WIDTH)).astype(np.float32)
            depth[:, :10] = 0
            given = replace(given, depth_weight=0.3)
        if "exposure" in name:
            given = replace(given, exposure=(np.eye(3, 4) + rng.normal(0, 0.1, (3, 4))).astype(np.float32))
        if "pose" in name:
            given = replace(given, want_pose=True)
        steps.append(replace(given, target=Target(camera, rgb, mask, depth)))
    return steps


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["plain", "mask", "depth and mask", "exposure", "pose"])
def test_steps_after_the_first_epoch(name: str, fused: bool, rng: np.random.Generator):
    views = _views(name, rng)
    model = Model(random_scene(rng, 4000), 4000)
    engine = NativeEngine(model, small(), 0, fused=fused)
    with allocations() as since:
        for given in views:
            engine.step(given)
        python, buffers = since()
        assert python > HEIGHT * WIDTH * 4 and buffers > 10  # the first ones do, so the meter works
        for step in range(2, 14):
            engine.step(replace(views[step % 4], step=step))
            python, buffers = since()
            assert buffers <= (step < 6)  # the scene moves, and lists of pairs may once more need room
            assert python < SMALL_BYTES


def test_pictures_over_a_new_background_each_step(synthetic: Capture, monkeypatch: pytest.MonkeyPatch):
    """Behind transparent pictures the composed picture has a place that is kept; its values are those of `over`."""
    straight = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
    monkeypatch.setattr(Capture, "image", lambda self, i: straight)
    targets = Targets(synthetic, None)
    view, colours = synthetic.train[0], np.random.default_rng(1).random((4, 3))
    targets.get(view, 0, colours[0])
    with allocations() as since:
        for colour in colours[1:]:
            found = targets.get(view, 0, colour)
            python, _ = since()
            assert python < SMALL_BYTES
    np.testing.assert_array_equal(found.rgb, over(straight, colours[3]))
