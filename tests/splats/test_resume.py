"""The same steps and seed give the same bits: again, interrupted and resumed, with any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from splat_cases import (
    STEPS,
    assert_same_arrays,
    last_arrays,
    new_run,
    small,
    train_until,
    trained,
)

from scenerep.captures import Capture
from scenerep.errors import ConfigError
from scenerep.events import Densified, Event, Saved, Step
from scenerep.runs import Run
from scenerep.splats import schedule
from scenerep.splats.config import SplatsConfig
from scenerep.splats.train import train

CONFIGS = {
    "budget": small("budget"),
    "mcmc": small("mcmc"),
    "classic": small("classic"),
    "corrections": small("budget", exposure=True, pose=True),
    "random background": small("mcmc", background="random", antialiased=True),
    "degree 3": small("budget", sh_degree=3),
}


def _resumed(folder: Path, capture: Capture, config: SplatsConfig, stops: list[int]) -> dict[str, np.ndarray]:
    """Trains to each of the steps in turn, each time from what is on the disk, then to the end."""
    run = new_run(folder, capture, config)
    for stop in stops:
        train_until(train(run, capture, config), stop)
        found = run.latest_checkpoint(())
        assert found is not None
        assert found.step == stop
        run = Run.open(folder)
        capture = capture.with_views(capture.views)  # nothing in memory is taken along
    for _ in train(run, capture, config):
        pass
    return last_arrays(run)


@pytest.mark.parametrize("name", CONFIGS)
def test_again(name, tiny, tmp_path):
    first = trained(tmp_path / "a", tiny, CONFIGS[name], seed=4)
    assert_same_arrays(trained(tmp_path / "b", tiny, CONFIGS[name], seed=4), first)
    assert_same_arrays_not(trained(tmp_path / "c", tiny, CONFIGS[name], seed=5), first)


def assert_same_arrays_not(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a["means"].shape != b["means"].shape or (a["means"] != b["means"]).any()


def test_both_refinements_choose(tiny, tmp_path):
    """What the tests below rely on."""
    config = CONFIGS["budget"]
    events = train(new_run(tmp_path / "run", tiny, config), tiny, config)
    changes = [e for e in events if isinstance(e, Densified)]
    assert [e.step for e in changes] == [100, 120]
    assert all(e.before < e.after < 2 * e.before for e in changes)


@pytest.mark.parametrize("name", CONFIGS)
def test_interrupted(name, tiny, tmp_path):
    """Before, at and after the refinements of steps 100 and 120, in the middle of an epoch, just before the end."""
    config = CONFIGS[name]
    whole = trained(tmp_path / "whole", tiny, config)
    stops = [1, 13, 99, 100, 101, 119, 120, STEPS - 1]
    assert_same_arrays(_resumed(tmp_path / "parts", tiny, config, stops), whole)


def test_interrupted_with_depth_and_masks(with_depth, with_masks, tiny, tmp_path):
    views = [replace(a, mask=b.mask) for a, b in zip(with_depth.views, with_masks.views)]
    capture, config = tiny.with_views(views), small(steps=110)
    whole = trained(tmp_path / "whole", capture, config)
    assert_same_arrays(_resumed(tmp_path / "parts", capture, config, [50, 100]), whole)


@pytest.mark.parametrize("background", ["auto", "random"])
def test_interrupted_with_transparency(background, synthetic, tmp_path):
    config = small(steps=110, background=background)
    whole = trained(tmp_path / "whole", synthetic, config)
    assert_same_arrays(_resumed(tmp_path / "parts", synthetic, config, [57]), whole)


def test_interrupted_at_each_resolution(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "_COARSEST_PIXELS", 96)
    config = small()
    whole = trained(tmp_path / "whole", tiny, config)
    assert_same_arrays(_resumed(tmp_path / "parts", tiny, config, [5, 30, 80]), whole)


def _until_kind(events: Iterator[Event], kind: type) -> None:
    for event in events:
        if isinstance(event, kind):
            break
    events.close()  # type: ignore[attr-defined]


def test_interrupted_within_a_step(tiny, tmp_path):
    """Closed at the event of a refinement, which comes before the step is told."""
    config = small()
    whole = trained(tmp_path / "whole", tiny, config)
    run = new_run(tmp_path / "parts", tiny, config)
    _until_kind(train(run, tiny, config), Densified)
    for _ in train(Run.open(run.path), tiny, config):
        pass
    assert_same_arrays(last_arrays(run), whole)


def test_abandoned_without_saving(tiny, tmp_path):
    """As after a crash: on from the last checkpoint, some steps are done again."""
    config = small(save_seconds=0.0)
    whole = trained(tmp_path / "whole", tiny, config)
    run = new_run(tmp_path / "parts", tiny, config)
    events = train(run, tiny, config)
    for event in events:
        if isinstance(event, Saved) and event.step == 60:
            break
    kept = run.latest_checkpoint()
    assert kept is not None
    for event in events:
        if isinstance(event, Step) and event.step == 75:
            break
    events.close()  # writes step 75, which the crash would not have
    for file in (run.path / "checkpoints").glob("step_*"):
        file.unlink()
    run.save_checkpoint(kept.step, kept.arrays, kept.state)
    again = [e.step for e in train(Run.open(run.path), tiny, config) if isinstance(e, Step)]
    assert again[0] == 61
    assert_same_arrays(last_arrays(run), whole)
    steps = [m["step"] for m in run.metrics() if "loss" in m]
    assert steps == sorted(set(steps))  # no line of the steps that were done twice


def test_a_finished_run_stays(tiny, tmp_path):
    config = small(steps=30)
    whole = trained(tmp_path / "run", tiny, config)
    events = list(train(Run.open(tmp_path / "run"), tiny, config))
    assert not [e for e in events if isinstance(e, Step)]
    assert_same_arrays(last_arrays(Run.open(tmp_path / "run")), whole)


def test_more_steps(tiny, tmp_path):
    """A finished run goes on to a larger number of steps, from the scene that it had."""
    trained(tmp_path / "run", tiny, small(steps=30))
    run, config = Run.open(tmp_path / "run"), small(steps=50)
    steps = [e for e in train(run, tiny, config) if isinstance(e, Step)]
    assert [e.step for e in steps] == list(range(31, 51))
    assert steps[0].progress == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize("name", ["budget", "corrections", "random background"])
def test_threads(name, tiny, tmp_path, monkeypatch):
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setenv("SCENEREP_THREADS", str(threads))
        found.append(trained(tmp_path / str(threads), tiny, CONFIGS[name]))
    for other in found[1:]:
        assert_same_arrays(other, found[0])


_SCRIPT = """
import sys
from pathlib import Path
from scenerep.data_tools import open_capture
from scenerep.runs import Run
from scenerep.splats.train import train

out, data = Path(sys.argv[1]), Path(sys.argv[2])
from scenerep.splats.config import InitConfig, SplatsConfig
config = SplatsConfig(steps=60, max_gaussians=200, sh_degree=1, exposure=True, pose=True, init=InitConfig(points=200))
for _ in train(Run.create(out, "splats", config, data), open_capture(data), config):
    pass
"""


def test_threads_of_the_linear_algebra(synthetic_dir, tmp_path):
    """numpy's own threads must not show either: exposures go through matrix products."""
    arrays = []
    for threads in ("1", "2"):
        environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        out = tmp_path / threads
        subprocess.run([sys.executable, "-c", _SCRIPT, str(out), str(synthetic_dir)], env=environment, check=True)
        arrays.append(last_arrays(Run.open(out)))
    assert_same_arrays(arrays[1], arrays[0])


def test_a_wrong_thread_count_is_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("SCENEREP_THREADS", "many")
    with pytest.raises(ConfigError, match="SCENEREP_THREADS=many"):
        next(train(new_run(tmp_path / "run", tiny, small()), tiny, small()))
