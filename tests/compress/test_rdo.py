"""The default compressor as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rendered_capture import ring, small_scene

from scenerep.captures import Capture
from scenerep.coding import decode, dequantise
from scenerep.compress import Goal, Job
from scenerep.compress.rdo.compressor import compress
from scenerep.compress.rdo.config import RdoConfig
from scenerep.compress.views import Views
from scenerep.errors import ConfigError
from scenerep.events import Compressed, Encoded, Event, Step
from scenerep.scenes import Gaussians

STEPS = 60


@pytest.fixture(scope="module")
def known() -> Gaussians:
    return small_scene(150, degree=2)


@pytest.fixture(scope="module")
def trained(known: Gaussians) -> Gaussians:
    """The known scene, a little off, with every Gaussian twice at half the weight: half of them can go."""
    rng = np.random.default_rng(1)
    twice = known.select(np.repeat(np.arange(len(known)), 2))
    arrays = {name: a + rng.normal(0, 0.01, a.shape).astype(np.float32) for name, a in twice.arrays().items()}
    opacity = 1 / (1 + np.exp(-twice.opacity_logits))
    half = 1 - np.sqrt(1 - opacity)
    arrays["opacity_logits"] = np.log(half / (1 - half))
    return replace(twice, **arrays)


def tuned_job(scene: Gaussians, capture: Capture, goal: Goal, folder: Path | None = None, steps: int = STEPS) -> Job:
    views, held_out = Views.of_capture(capture, capture.train), Views.of_capture(capture, capture.test)
    return Job(scene, views, goal, held_out, steps=steps, folder=folder)


def untuned_job(scene: Gaussians, goal: Goal) -> Job:
    return Job(scene, Views.of_renders(scene, ring(8)), goal)


def finish(job: Job, config: RdoConfig | None = None) -> bytes:
    events = list(compress(job, config or RdoConfig()))
    assert isinstance(events[-1], Compressed)
    assert sum(isinstance(event, Compressed) for event in events) == 1
    return events[-1].data


def test_fine_tuning_beats_none_at_the_same_size(trained: Gaussians, capture: Capture) -> None:
    goal = Goal(size=3500)
    tuned = finish(tuned_job(trained, capture, goal))
    plain = finish(tuned_job(trained, capture, goal), RdoConfig(fine_tune=False))
    views = Views.of_capture(capture, capture.test)
    quality = [views.psnr(dequantise(decode(data))) for data in (tuned, plain)]
    assert quality[0] > quality[1] + 1
    assert len(decode(tuned)) < len(trained)


@pytest.mark.parametrize("size", [2500, 4000, 6000])
def test_target_size_is_met_and_never_exceeded(trained: Gaussians, capture: Capture, size: int) -> None:
    for data in (
        finish(tuned_job(trained, capture, Goal(size=size))),
        finish(untuned_job(trained, Goal(size=size))),
    ):
        assert 0.96 * size <= len(data) <= size  # one Gaussian is 0.3 % here, and a layer's streams end on whole bytes


def test_size_falls_as_lambda_grows(trained: Gaussians, capture: Capture) -> None:
    sizes = [len(finish(tuned_job(trained, capture, Goal(lambda_=value)))) for value in (30.0, 3000.0)]
    assert sizes[0] > 1.2 * sizes[1]
    sizes = [len(finish(untuned_job(trained, Goal(lambda_=value)))) for value in (30.0, 3000.0)]
    assert sizes[0] > 1.2 * sizes[1]


def test_quality_without_photographs_is_that_of_the_preset(trained: Gaussians) -> None:
    for quality, psnr in (("low", 36.0), ("high", 45.0)):
        job = untuned_job(trained, Goal(quality=quality))  # type: ignore[arg-type]
        data = finish(job)
        assert job.views.psnr(dequantise(decode(data))) == pytest.approx(psnr, abs=2.0)


def test_target_loss(trained: Gaussians, capture: Capture) -> None:
    views = Views.of_capture(capture, capture.test)
    before = views.psnr(trained)
    data = finish(tuned_job(trained, capture, Goal(loss=1.0)))
    assert before - views.psnr(dequantise(decode(data))) <= 1.0


def test_an_interrupted_job_ends_with_the_same_bytes(trained: Gaussians, capture: Capture, tmp_path: Path) -> None:
    whole = finish(tuned_job(trained, capture, Goal(lambda_=300.0)))
    for stop in (13, 35, 44, 55):  # in the rounds, after the steps were chosen, and after freezing
        folder = tmp_path / str(stop)
        job = tuned_job(trained, capture, Goal(lambda_=300.0), folder)
        job.open_folder({"stop": stop})
        events = compress(job, RdoConfig())
        for event in events:
            if isinstance(event, Step) and event.step == stop:
                break
        events.close()
        assert job.saved() is not None
        again = tuned_job(trained, capture, Goal(lambda_=300.0), folder)
        again.open_folder({"stop": stop})
        assert finish(again) == whole


def test_another_job_does_not_go_on_with_this_one(trained: Gaussians, capture: Capture, tmp_path: Path) -> None:
    job = tuned_job(trained, capture, Goal(lambda_=300.0), tmp_path / "work")
    job.open_folder({"lambda": 300})
    events = compress(job, RdoConfig())
    assert any(isinstance(event, Step) and event.step == 9 for event in events)
    events.close()
    job.open_folder({"lambda": 300})
    assert job.saved() is not None
    job.open_folder({"lambda": 200})
    assert job.saved() is None
    job.clear()
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    "config",
    [
        RdoConfig(prune=False),
        RdoConfig(shrink=False, layers=1),
        RdoConfig(quantised_training=False),
        RdoConfig(rdoq=False, sh_degree=1),
        RdoConfig(search=False, canonical="no"),
    ],
)
def test_parts_can_be_switched_off(trained: Gaussians, capture: Capture, config: RdoConfig) -> None:
    data = finish(tuned_job(trained, capture, Goal(lambda_=300.0), steps=25), config)
    q = decode(data)
    assert (len(q) == len(trained)) == (not config.prune)
    assert q.quantiser.sh_degree == min(2, config.sh_degree)
    assert q.quantiser.canonical == (config.canonical != "no")


def test_events_tell_what_goes_on(trained: Gaussians, capture: Capture) -> None:
    events: list[Event] = list(compress(tuned_job(trained, capture, Goal(quality="medium")), RdoConfig()))
    steps = [event.step for event in events if isinstance(event, Step)]
    assert steps == list(range(1, STEPS + 1))
    sizes = [event.bytes for event in events if isinstance(event, Encoded)]
    assert len(sizes) == 10
    assert sizes[-1] < sizes[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [({}, "none given"), ({"size": 1, "loss": 0.1}, "size, loss given"), ({"lambda_": -1.0}, "lambda is -1")],
)
def test_goals(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Goal(**values)


def test_nothing_to_compress(trained: Gaussians) -> None:
    job = untuned_job(trained, Goal(quality="low"))
    job.scene = trained.select([])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no Gaussians"):
        list(compress(job, RdoConfig()))
    with pytest.raises(ConfigError, match="layers"):
        list(compress(untuned_job(trained, Goal(quality="low")), RdoConfig(layers=0)))
