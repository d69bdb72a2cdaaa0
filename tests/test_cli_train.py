"""train, resume and info as a user runs them, on a small synthetic capture."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scenerep.captures import Capture, Points
from scenerep.cli import training
from scenerep.cli.main import main
from scenerep.errors import DataError
from scenerep.runs import Run

SMALL = ["--max-gaussians", "600", "--init.points", "300", "--sh-degree", "1"]
Json = Callable[..., dict]


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    return ["train", "splats", "--data", str(data), "--out", str(out), *SMALL, *more]


@pytest.fixture
def run_json(capsys: pytest.CaptureFixture[str]) -> Json:
    """Runs a command with --json in this process; it must succeed and print one object."""

    def run(*args: str) -> dict:
        assert main([*args, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(scope="module")
def trained(synthetic_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 40 steps. Look at it, but change nothing."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert main(arguments(synthetic_dir, out, "--steps", "40", "--seed", "3")) == 0
    return out


def test_train_and_resume(synthetic_dir: Path, tmp_path: Path, run_json: Json) -> None:
    out = tmp_path / "run"
    result = run_json(*arguments(synthetic_dir, out, "--steps", "40"))
    assert result["run"] == str(out)
    assert result["step"] == 40
    assert 0 < result["count"] <= 600
    assert 5 < result["psnr"] < 60
    assert 0 < result["minutes"] < 5
    assert result["bytes"] == result["count"] * (3 + 3 + 4 + 1 + 4 * 3) * 4
    assert {"config.json", "metrics.jsonl", "checkpoints", "cameras.json"} <= {file.name for file in out.iterdir()}

    before = result["minutes"]
    result = run_json("resume", str(out), "--steps", "60")
    assert result["step"] == 60
    assert result["minutes"] > before
    assert Run.open(out).config["steps"] == 60
    steps = [entry["step"] for entry in Run.open(out).metrics()]
    assert steps == sorted(steps)


def test_the_table_says_what_to_do_next(
    synthetic_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(arguments(synthetic_dir, out, "--steps", "20")) == 0
    captured = capsys.readouterr()
    assert re.search(r"^PSNR +\d+\.\d\d dB$", captured.out, re.MULTILINE)
    assert re.search(r"^Gaussians +\d+$", captured.out, re.MULTILINE)
    for command in ("eval", "view", "export"):
        assert f"scenerep {command} {out}" in captured.out
    assert re.search(r"^step 20 .* it/s  loss 0\.\d+ .* left$", captured.err, re.MULTILINE)


def test_runs_have_a_default_place(synthetic_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["train", "splats", "--data", str(synthetic_dir), *SMALL, "--steps", "3"]) == 0
    folder = tmp_path / "runs" / "synthetic" / "splats"
    runs = sorted(path.name for path in folder.iterdir() if path.name != "latest")
    assert len(runs) == 2
    assert Run.open(folder / "latest").path == folder / runs[-1]


def test_nothing_is_replaced_unasked(trained: Path, synthetic_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (trained / "config.json").read_bytes()
    assert main(arguments(synthetic_dir, trained, "--steps", "3")) == 1
    error = capsys.readouterr().err
    assert "exists already" in error
    assert "hint: " in error
    assert "--overwrite" in error
    assert (trained / "config.json").read_bytes() == before
    assert Run.open(trained).latest_checkpoint(()).step == 40  # type: ignore[union-attr]


def test_overwrite(synthetic_dir: Path, tmp_path: Path, run_json: Json) -> None:
    out = tmp_path / "run"
    run_json(*arguments(synthetic_dir, out, "--steps", "5"))
    assert run_json(*arguments(synthetic_dir, out, "--steps", "3", "--overwrite"))["step"] == 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["resume", "{run}", "--steps", "40"], "has done 40 steps already"),
        (["resume", "{run}", "--minutes", "0.00001"], "minutes already"),
        (["resume", "{tmp}/nowhere"], "no such folder"),
        (["resume", "{tmp}"], "not a run"),
        (["info", "{tmp}/nowhere"], "no such file"),
        (["train", "splats", "--data", "{tmp}/nowhere", "--out", "{tmp}/run"], "{tmp}/nowhere"),
        (["train", "splats", "--data", "{data}", "--out", "{tmp}/run", "--steps", "-3"], "-3"),
        (["train", "splats", "--data", "{data}", "--out", "{tmp}/run", "--max-side", "0"], "max"),
    ],
)
def test_mistakes_are_exit_1_with_a_hint(
    args: list[str],
    message: str,
    trained: Path,
    synthetic_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"run": trained, "tmp": tmp_path, "data": synthetic_dir}
    assert main([arg.format(**names) for arg in args]) == 1
    error = capsys.readouterr().err
    assert message.format(**names) in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_resume_where_nothing_is_left(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(trained)]) == 0
    assert "budget was used up already" in capsys.readouterr().err


def test_info(trained: Path, synthetic_dir: Path, tmp_path: Path, run_json: Json, capsys) -> None:
    found = run_json("info", str(trained))
    scene = Run.open(trained).scene()
    assert (found["kind"], found["step"], found["count"], found["sh_degree"]) == ("run", 40, len(scene), 1)
    np.testing.assert_allclose(found["bounds"][0], scene.means.min(axis=0))
    assert found["data"] == str(synthetic_dir)

    file = tmp_path / "scene.ply"
    assert main(["export", str(trained), str(file)]) == 0
    capsys.readouterr()
    in_file = run_json("info", str(file))
    assert (in_file["kind"], in_file["count"], in_file["bytes"]) == ("scene", len(scene), file.stat().st_size)
    np.testing.assert_allclose(in_file["bounds"], found["bounds"])

    capture = run_json("info", str(synthetic_dir))
    assert (capture["kind"], capture["views"], capture["sizes"]) == ("capture", 16, [[64, 64]])
    assert capture["train"] + capture["test"] == 16

    assert main(["info", str(trained)]) == 0
    assert re.search(rf"^count +{len(scene)}$", capsys.readouterr().out, re.MULTILINE)


# --- captures without points


def test_missing_points_are_found_once_and_kept(
    synthetic_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scenerep.data_tools import open_capture, triangulate

    known = open_capture(synthetic_dir).points
    assert known is not None
    calls: list[int] = []

    def initial_points(capture: Capture, *, seed: int, progress) -> Points:
        calls.append(seed)
        progress("matching", 1, 1)
        return known

    real = training.open_training_capture
    monkeypatch.setattr(triangulate, "initial_points", initial_points)
    for module in ("scenerep.cli.train", "scenerep.cli.resume"):
        monkeypatch.setattr(f"{module}.open_training_capture", lambda *args: real(*args).with_points(None))
    out = tmp_path / "run"
    assert main(arguments(synthetic_dir, out, "--steps", "3", "--seed", "5")) == 0
    assert main(["resume", str(out), "--steps", "5"]) == 0
    assert calls == [5]
    kept = training.load_points(out / "points.npz")
    assert kept is not None
    np.testing.assert_array_equal(kept.xyz, known.xyz)
    np.testing.assert_array_equal(kept.rgb, known.rgb)
    (out / "points.npz").write_bytes(b"damaged")
    assert main(["resume", str(out), "--steps", "6"]) == 0
    assert calls == [5, 5]


def test_no_points_no_run(synthetic_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args, **kwargs):
        raise DataError("the pictures share nothing", "take more")

    real = training.open_training_capture
    monkeypatch.setattr("scenerep.cli.train.find_points", fail)
    monkeypatch.setattr("scenerep.cli.train.open_training_capture", lambda *args: real(*args).with_points(None))
    assert main(arguments(synthetic_dir, tmp_path / "run", "--steps", "3")) == 1
    assert list(tmp_path.iterdir()) == []


# --- in a process of its own: signals, crashes, terminals


def start(*args: str, **streams) -> subprocess.Popen:
    code = "import sys; from scenerep.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen([sys.executable, "-c", code, *args], **streams)


def wait_for_checkpoint(process: subprocess.Popen, out: Path) -> None:
    for _ in range(600):
        if list(out.glob("checkpoints/step_*")):
            return
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        select.select([], [], [], 0.1)
    raise AssertionError("no checkpoint after a minute")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_is_saved(number: int, synthetic_dir: Path, tmp_path: Path, run_json: Json) -> None:
    out = tmp_path / "run"
    args = arguments(synthetic_dir, out, "--minutes", "10", "--save-seconds", "0.2", "--json")
    with start(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_checkpoint(process, out)
        process.send_signal(number)
        printed, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert printed == ""
    assert f"resume with: scenerep resume {out}" in said
    step = int(re.search(r"saved at step (\d+)", said)[1])  # type: ignore[index]
    assert Run.open(out).latest_checkpoint(()).step == step  # type: ignore[union-attr]
    assert run_json("resume", str(out), "--steps", str(step + 5))["step"] == step + 5


def test_a_killed_training_goes_on_from_its_checkpoint(synthetic_dir: Path, tmp_path: Path, run_json: Json) -> None:
    out = tmp_path / "run"
    args = arguments(synthetic_dir, out, "--minutes", "10", "--save-seconds", "0.1")
    with start(*args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        wait_for_checkpoint(process, out)
        process.kill()
    step = Run.open(out).latest_checkpoint(()).step  # type: ignore[union-attr]
    assert run_json("resume", str(out), "--steps", str(step + 5))["step"] == step + 5


def test_bar_on_a_terminal(synthetic_dir: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    args = arguments(synthetic_dir, tmp_path / "run", "--steps", "30")
    with start(*args, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end was closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode(errors="replace")
    assert "━" in text
    assert "100%" in text
    assert "step 30" in text


def test_tensorboard(synthetic_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(arguments(synthetic_dir, tmp_path / "run", "--steps", "20", "--tensorboard"))
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        assert code == 1
        assert "pip install 'scenerep[tensorboard]'" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
    else:
        assert code == 0
        assert list((tmp_path / "run" / "tensorboard").iterdir())
