"""A training that is killed or interrupted and resumed, through the command line, ends with the same bits."""

from __future__ import annotations

import functools
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scenerep.runs import Run

# Pictures of 64 x 64 and some hundred Gaussians: a millisecond or two a step on an idle machine. Between the start of a
# process and its end by a kill lie some 0.2 seconds of training, so these steps last for the kills that follow them.
STEPS = 1500
MANY_STEPS = 8000
SMALL = ["--max-gaussians", "400", "--init.points", "200", "--sh-degree", "1"]
OPTIONS = ["--exposure", "--densify.strategy", "mcmc", "--save-seconds", "0.1"]


def _start(*args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scenerep.cli.main", *args]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _train(data: Path, out: Path, steps: int) -> list[str]:
    return ["train", "splats", "--data", str(data), "--out", str(out), "--steps", str(steps), *SMALL, *OPTIONS]


def _checkpoints(out: Path) -> list[str]:
    return sorted(file.name for file in out.glob("checkpoints/step_*"))


def _wait_for_a_new_checkpoint(process: subprocess.Popen[str], out: Path) -> bool:
    """False if the training ended before it wrote one."""
    before, until = _checkpoints(out), time.monotonic() + 120
    while _checkpoints(out) == before:
        if process.poll() is not None:
            return False
        assert time.monotonic() < until, "no checkpoint after two minutes"
        time.sleep(0.005)
    return True


def _finish(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


def _arrays(out: Path) -> dict[str, np.ndarray]:
    found = Run.open(out).latest_checkpoint()
    assert found is not None
    return found.arrays


def _assert_same(out: Path, whole: Path) -> None:
    found, expected = _arrays(out), _arrays(whole)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.fixture(scope="module")
def whole(synthetic_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Gives the run of a training of so many steps that nobody disturbed."""

    @functools.cache
    def run(steps: int) -> Path:
        out = tmp_path_factory.mktemp("whole") / "run"
        _finish(_start(*_train(synthetic_dir, out, steps)))
        return out

    return run


@pytest.mark.parametrize(("kills", "steps"), [(3, STEPS), pytest.param(20, MANY_STEPS, marks=pytest.mark.slow)])
def test_killed_again_and_again(
    kills: int, steps: int, synthetic_dir: Path, whole: Callable[[int], Path], tmp_path: Path
) -> None:
    out, rng = tmp_path / "run", random.Random(kills)
    args, saved = _train(synthetic_dir, out, steps), []
    for kill in range(kills):
        process = _start(*args)
        assert _wait_for_a_new_checkpoint(process, out), f"the training was over after {kill} kills"
        time.sleep(rng.uniform(0, 0.12))  # between two checkpoints, or while the next is written
        process.kill()
        process.communicate()
        found = Run.open(out).latest_checkpoint(())
        assert found is not None
        saved.append(found.step)
        args = ["resume", str(out)]
    assert saved == sorted(saved)
    _finish(_start(*args))
    _assert_same(out, whole(steps))
    assert Run.open(out).scene().metadata["step"] == steps
    assert not [file for file in out.rglob("*") if file.name.endswith(".tmp")]
    steps = [entry["step"] for entry in Run.open(out).metrics() if "loss" in entry]
    assert steps == sorted(set(steps))


def test_interrupted_and_resumed(synthetic_dir: Path, whole: Callable[[int], Path], tmp_path: Path) -> None:
    """Ctrl-C saves at the step that was reached, exits with 130, and nothing is lost."""
    out = tmp_path / "run"
    process = _start(*_train(synthetic_dir, out, STEPS))
    assert _wait_for_a_new_checkpoint(process, out)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    step = int(re.search(r"saved at step (\d+)", said)[1])  # type: ignore[index]
    assert 0 < step < STEPS
    assert _checkpoints(out)[-1] == f"step_{step:08d}.safetensors"
    _finish(_start("resume", str(out)))
    _assert_same(out, whole(STEPS))
