"""What the commands share: exit codes, JSON, progress lines, signals."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from scenerep.cli import common
from scenerep.cli.display import TrainingDisplay
from scenerep.cli.main import main
from scenerep.errors import DataError
from scenerep.events import Evaluated, Step, Warned


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**30 * 5, "5.0 GiB"), (2**50, "1048576.0 GiB")],
)
def test_format_bytes(count: int, text: str) -> None:
    assert common.format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (83, "1:23"), (3723, "1:02:03"), (-1, "0:00"), (float("inf"), "?")],
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert common.format_seconds(seconds) == text


def test_json_has_no_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    common.print_json({"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": Path("x")}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None], "c": {"d": "x"}}


def test_errors_are_a_message_and_a_hint(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def command() -> None:
        raise DataError("fox.jpg: cut short", "copy it again")

    monkeypatch.delenv("SCENEREP_DEBUG", raising=False)
    assert common.run_command(command) == 1
    captured = capsys.readouterr()
    assert captured.err == "error: fox.jpg: cut short\nhint: copy it again\n"
    assert captured.out == ""
    monkeypatch.setenv("SCENEREP_DEBUG", "1")
    with pytest.raises(DataError):
        common.run_command(command)


def test_interrupted_before_there_is_anything_to_save(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    before = signal.getsignal(signal.SIGTERM)
    assert common.run_command(command) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_exceptions_are_bugs_and_escape() -> None:
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        common.run_command(command)


@pytest.mark.parametrize("args", [[], ["nothing"], ["info"], ["train", "splats"], ["info", "x", "--colour"]])
def test_wrong_usage_is_2_and_says_so_on_stderr(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--help" in captured.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupts_wait_and_the_second_does_not(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    with common.Interrupts("stopping soon") as interrupts:
        assert not interrupts.requested
        os.kill(os.getpid(), number)
        assert interrupts.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    assert "stopping soon" in capfd.readouterr().err


def test_plain_stage_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with common.stage_progress() as progress:
        for done in range(1001):
            progress("matching", done, 1000)
        progress("matching", 1000, 1000)
        progress("mapping", 1, 1)
        progress("empty", 0, 0)
    assert capsys.readouterr().err.splitlines() == [
        "matching: 0/1000",
        "matching: 1000/1000",
        "mapping: 1/1",
        "empty: 0/0",
    ]


def test_training_display_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay() as display:
        assert display.line() == "starting"
        for i in range(1, 201):
            display.update(Step(i, 0.5, 1000 + i, i * 0.1, i / 400, (400 - i) * 0.1))
        display.update(Evaluated(200, 25.125, 0.9, 3))
        display.update(Warned("picture 3 is odd"))
        assert display.rate() == pytest.approx(10.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "warning: picture 3 is odd",
        "step 200  10.0 it/s  loss 0.5000  1200 Gaussians  PSNR 25.12  0:20 left",
    ]
