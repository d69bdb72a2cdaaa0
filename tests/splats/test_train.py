"""The trainer: events, options, errors, quality, budgets of Gaussians and of time."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from splat_cases import SMALL, assert_same_arrays, last_arrays, new_run, small, train_until, trained

from scenerep.captures import Capture, Points
from scenerep.errors import ConfigError, DataError
from scenerep.events import Densified, Evaluated, Event, Saved, Step
from scenerep.splats import schedule
from scenerep.splats.config import DensifyConfig, InitConfig, SplatsConfig
from scenerep.splats.train import train

STRATEGIES = ["budget", "mcmc", "classic"]


def _events(folder: Path, capture: Capture, config: SplatsConfig, seed: int = 0) -> list[Event]:
    return list(train(new_run(folder, capture, config, seed), capture, config))


def test_three_steps(tiny, tmp_path):
    run = new_run(tmp_path / "run", tiny, SMALL)
    steps = itertools.islice((e for e in train(run, tiny, SMALL) if isinstance(e, Step)), 3)
    assert [e.step for e in steps] == [1, 2, 3]


@pytest.fixture(scope="module")
def whole(tiny_dir: Path, known_scene, tmp_path_factory) -> tuple[list[Event], Path]:
    """The events of a training that improves, and its folder."""
    from rendered_capture import points_about

    from scenerep.data_tools import open_capture

    capture = open_capture(tiny_dir, test_every=4).with_points(points_about(known_scene))
    folder = tmp_path_factory.mktemp("whole") / "run"
    config = small(steps=300)
    run = new_run(folder, capture, config)
    scenes = []
    events = []
    for event in train(run, capture, config):
        events.append(event)
        if isinstance(event, Densified):
            assert run.snapshot is not None
            scenes.append(run.snapshot())
            assert len(scenes[-1]) == event.after
    assert scenes
    return events, folder


def test_held_out_views_get_better(whole):
    quality = [e.psnr for e in whole[0] if isinstance(e, Evaluated)]
    assert quality[-1] > quality[0] + 4
    assert quality[-1] > 20
    ssim = [e.ssim for e in whole[0] if isinstance(e, Evaluated)]
    assert ssim[-1] > ssim[0]


def test_events_in_order(whole):
    events = whole[0]
    steps = [e for e in events if isinstance(e, Step)]
    assert [e.step for e in steps] == list(range(1, 301))
    for a, b in itertools.pairwise(steps):
        assert a.progress < b.progress
        assert a.seconds <= b.seconds
    assert steps[0].progress >= 0
    assert steps[-1].progress <= 1
    assert steps[-1].seconds_left < 0.05 * steps[-1].seconds
    assert all(np.isfinite(e.loss) and e.loss > 0 for e in steps)
    # A change of the count is told before the step that shows it, and each step shows the count as it is.
    count = steps[0].count
    for event in events:
        if isinstance(event, Densified):
            assert event.before == count
            assert event.after != count
            count = event.after
        elif isinstance(event, Step):
            assert event.count == count
    assert isinstance(events[-2], Saved)
    assert events[-2].step == 300
    assert isinstance(events[-1], Evaluated)
    assert events[-1].views == 3  # all that are held out
    assert len({e.step for e in events if isinstance(e, Evaluated)}) >= 10


def test_the_run_tells_the_same(whole):
    from scenerep.runs import Run

    events, folder = whole
    run = Run.open(folder)
    last = events[-1]
    assert isinstance(last, Evaluated)
    measured = [m for m in run.metrics() if "psnr" in m]
    assert (measured[-1]["step"], measured[-1]["psnr"], measured[-1]["views"]) == (300, last.psnr, 3)
    losses = {m["step"]: m["loss"] for m in run.metrics() if "loss" in m}
    shown = {e.step: e.loss for e in events if isinstance(e, Step)}
    assert losses
    assert all(shown[step] == loss for step, loss in losses.items())
    scene = run.scene()
    assert len(scene) == max(e.count for e in events if isinstance(e, Step))
    assert (scene.sh_degree, scene.antialiased) == (1, False)
    assert not list((folder / "checkpoints").glob(".*"))  # nothing half-written


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_never_above_the_budget(strategy, tiny, tmp_path):
    config = small(strategy, max_gaussians=150)
    counts = [e.count for e in _events(tmp_path / "run", tiny, config) if isinstance(e, Step)]
    assert max(counts) <= 150
    if strategy != "classic":  # classic grows where gradients are large only
        assert max(counts) > counts[0] == 120
    assert counts[-1] >= 0.5 * counts[0]


@pytest.mark.parametrize("budget", [1, 2, 50])
def test_budgets_below_the_points(budget, tiny, tmp_path):
    config = small(max_gaussians=budget, steps=120)
    counts = [e.count for e in _events(tmp_path / "run", tiny, config) if isinstance(e, Step)]
    assert counts[0] == budget
    assert 1 <= max(counts) <= budget


OPTIONS = {
    "antialiased": {"antialiased": True},
    "exposure": {"exposure": True},
    "pose": {"pose": True},
    "exposure and pose": {"exposure": True, "pose": True},
    "random background": {"background": "random"},
    "white background": {"background": "white"},
    "degree 0": {"sh_degree": 0},
    "degree 3": {"sh_degree": 3},
    "without noise": {"densify": replace(SMALL.densify, noise=0.0)},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name, tiny, tmp_path):
    config = small(steps=120, **OPTIONS[name])
    run = new_run(tmp_path / "run", tiny, config)
    events = list(train(run, tiny, config))
    losses = [e.loss for e in events if isinstance(e, Step)]
    # A bright background behind dark photographs has to be covered first, which takes longer than this.
    assert np.mean(losses[-15:]) < (0.95 if "background" in name else 0.8) * np.mean(losses[:15])
    scene = run.scene()
    assert scene.sh_degree == config.sh_degree
    assert scene.antialiased == config.antialiased
    arrays = last_arrays(run)
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert ("exposure.values" in arrays, "pose.values" in arrays) == (config.exposure, config.pose)
    for part, wanted in (("exposure", config.exposure), ("pose", config.pose)):
        if wanted:
            values = arrays[f"{part}.values"]
            assert values[tiny.train].any(axis=1).all()
            assert not values[tiny.test].any()  # held-out views are never learned from


def test_depth_pulls_the_depth(with_depth, tiny, tmp_path):
    from scenerep.render import render
    from scenerep.runs import Run

    points = tiny.points
    assert points is not None
    wrong = points.xyz + np.random.default_rng(0).normal(0, 0.3, points.xyz.shape)
    errors = []
    for i, (capture, weight) in enumerate(((tiny, 0.0), (with_depth, 2.0))):
        capture = capture.with_points(Points(wrong, points.rgb))
        config = small(steps=120)
        config = replace(config, loss=replace(config.loss, depth=weight))
        trained(tmp_path / str(i), capture, config)
        scene = Run.open(tmp_path / str(i)).scene()
        view = with_depth.test[0]
        truth, drawn = with_depth.depth(view), render(scene, with_depth.camera(view), depth=True)
        assert truth is not None
        assert drawn.depth is not None
        errors.append(np.abs(drawn.depth - truth)[truth > 0].mean())
    assert errors[1] < 0.8 * errors[0], errors


def test_masked_pixels_do_not_matter(with_masks, tmp_path):
    """Where the masks hide them, the pictures may be anything."""
    spoiled = with_masks.with_views(with_masks.views)
    real = spoiled.image

    def image(i: int) -> np.ndarray:
        picture = real(i).copy()
        picture[: picture.shape[0] // 4] = np.random.default_rng(i).integers(0, 256, picture[: len(picture) // 4].shape)
        return picture

    spoiled.image = image  # type: ignore[method-assign]
    config = small(steps=40)
    arrays = trained(tmp_path / "a", with_masks, config)
    assert_same_arrays(trained(tmp_path / "b", spoiled, config), arrays)


@pytest.mark.parametrize("background", ["auto", "black", "random"])
def test_transparent_pictures(background, synthetic, tmp_path):
    config = small(steps=120, background=background, max_gaussians=500, init=InitConfig(points=400))
    events = _events(tmp_path / "run", synthetic, config)
    losses = [e.loss for e in events if isinstance(e, Step)]
    assert np.mean(losses[-15:]) < 0.85 * np.mean(losses[:15])
    quality = [e.psnr for e in events if isinstance(e, Evaluated)]
    assert quality[-1] > quality[0]


def test_coarse_levels_come_first(tiny, tmp_path, monkeypatch):
    """All resolutions are passed; the last is the full one."""
    from scenerep.splats.engine import NativeEngine

    monkeypatch.setattr(schedule, "_COARSEST_PIXELS", 96)
    widths = []
    real = NativeEngine.step
    monkeypatch.setattr(
        NativeEngine, "step", lambda self, given: widths.append(given.target.rgb.shape[1]) or real(self, given)
    )
    config = small(steps=60)
    losses = [e.loss for e in _events(tmp_path / "run", tiny, config) if isinstance(e, Step)]
    assert sorted(set(widths), reverse=True) == [48, 24, 12]
    assert widths == sorted(widths)
    assert np.isfinite(losses).all()


# --- errors


def test_errors_of_captures(tiny, tmp_path):
    for i, (capture, message) in enumerate(
        [
            (tiny.with_points(None), "no points to start from"),
            (tiny.with_points(Points(np.zeros((3, 3)), np.zeros((3, 3), np.uint8))), "3 points .* at least 4"),
            (tiny.with_views([replace(v, split="test") for v in tiny.views]), "no views to train on"),
        ]
    ):
        with pytest.raises(DataError, match=message) as caught:
            _events(tmp_path / str(i), capture, SMALL)
        assert caught.value.hint
        assert not list((tmp_path / str(i)).glob("checkpoints/*"))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": -5}, "steps"),
        ({"steps": None, "minutes": 0.0}, "minutes"),
        ({"steps": None, "minutes": float("nan")}, "minutes"),
        ({"max_gaussians": 0}, "max-gaussians"),
        ({"init": InitConfig(points=0)}, "init.points"),
        ({"init": InitConfig(opacity=1.0)}, "init.opacity"),
        ({"init": InitConfig(scale=0.0)}, "init.scale"),
        ({"densify": DensifyConfig(every=0)}, "densify.every"),
    ],
)
def test_impossible_numbers(changes, name, tiny, tmp_path):
    run = new_run(tmp_path / "run", tiny, SMALL)
    with pytest.raises(ConfigError, match=f"--{name} is") as caught:
        next(train(run, tiny, replace(SMALL, **changes)))
    assert caught.value.hint


def test_a_loss_that_is_not_finite(tiny, tmp_path, monkeypatch):
    from scenerep.splats.engine import NativeEngine, StepInput, StepOutput

    real = NativeEngine.step

    def step(self: NativeEngine, given: StepInput) -> StepOutput:
        out = real(self, given)
        return replace(out, loss=float("nan")) if given.step == 9 else out

    monkeypatch.setattr(NativeEngine, "step", step)
    run = new_run(tmp_path / "run", tiny, SMALL)
    with pytest.raises(DataError, match=r"the loss is nan at step 9, view \d+\.png") as caught:
        list(train(run, tiny, SMALL))
    assert "learning rates" in caught.value.hint
    assert run.latest_checkpoint() is None  # what is broken is not kept


# --- time


def test_minutes_are_kept(tiny, tmp_path):
    """2 seconds: the loop ends within half a second of them, whatever the speed (the clock is read every 10 steps)."""
    config = small(steps=None, minutes=2 / 60)
    run = new_run(tmp_path / "run", tiny, config)
    began = time.monotonic()
    events = list(train(run, tiny, config))
    steps = [e for e in events if isinstance(e, Step)]
    assert 1.9 < steps[-1].seconds < 2.5 + 10 * 2.0 / len(steps)
    assert time.monotonic() - began < 10
    assert all(a.progress <= b.progress for a, b in itertools.pairwise(steps))
    assert steps[-1].progress > 0.7
    assert isinstance(events[-1], Evaluated)


def test_minutes_go_on_where_they_were(tiny, tmp_path):
    config = small(steps=None, minutes=2 / 60)
    run = new_run(tmp_path / "run", tiny, config)
    events = train(run, tiny, config)
    for event in events:
        if isinstance(event, Step) and event.seconds > 1:
            break
    events.close()
    before = run.latest_checkpoint()
    assert before is not None
    assert before.state["seconds"] > 1
    steps = [e for e in train(run, tiny, config) if isinstance(e, Step)]
    assert steps[0].seconds >= before.state["seconds"]
    assert steps[0].progress >= before.state["position"]["progress"]
    assert steps[-1].seconds < 3.5
    assert steps[0].step == before.step + 1


def test_pauses_do_not_count(tiny, tmp_path, monkeypatch):
    """Whoever takes the events may stop between two of them, as the viewer does while paused."""
    from scenerep.splats import train as module

    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.5)
    run = new_run(tmp_path / "run", tiny, SMALL)
    events = train(run, tiny, SMALL)
    seconds = []
    for event in events:
        if isinstance(event, Step):
            seconds.append(event.seconds)
            if event.step == 3:
                time.sleep(1.0)
            if event.step == 4:
                break
    events.close()  # type: ignore[attr-defined]
    assert seconds[-1] - seconds[-2] < 0.9


def test_closing_saves(tiny, tmp_path):
    run = new_run(tmp_path / "run", tiny, SMALL)
    assert run.latest_checkpoint() is None
    train_until(train(run, tiny, SMALL), 7)
    found = run.latest_checkpoint()
    assert found is not None
    assert found.step == 7
    assert len(run.scene()) == 120


def test_saves_now_and_then(tiny, tmp_path):
    config = small(steps=40, save_seconds=0.0)
    saved = [e for e in _events(tmp_path / "run", tiny, config) if isinstance(e, Saved)]
    assert [e.step for e in saved] == list(range(1, 41))
    assert sorted(p.name for p in saved[-1].path.parent.iterdir()) == [e.path.name for e in saved[-2:]]
