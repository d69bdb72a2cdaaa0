"""`scenerep compress` and `scenerep compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rendered_capture import small_scene

from scenerep.cli.compress import parse_decibel, parse_size
from scenerep.cli.main import main
from scenerep.coding import decode
from scenerep.errors import ConfigError
from scenerep.io import write_scene


@pytest.fixture
def ply(tmp_path: Path) -> Path:
    path = tmp_path / "scene.ply"
    write_scene(small_scene(40), path)
    return path


def test_a_file_without_photographs(ply: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "small.srz"
    assert main(["compress", "rdo", str(ply), "--out", str(out), "--quality", "high", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bytes"] == out.stat().st_size == sum(result["streams"].values())
    assert result["count"] == len(decode(out.read_bytes()))
    assert result["measured_on"] == "renders"
    assert result["psnr"] > 40
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["scene.ply", "small.srz"]
    metadata = decode(out.read_bytes()).metadata
    assert metadata["cameras"][0]["width"] == 960
    assert abs(sum(x * x for x in metadata["up"]) - 1) < 1e-3
    assert main(["compress", "rdo", str(ply), "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_one_goal_only(ply: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "small.srz"
    assert main(["compress", "rdo", str(ply), "--out", str(out), "--quality", "low", "--lambda", "1"]) == 1
    assert "one goal is needed" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "size"), [("2MB", 2_000_000), ("500 kB", 500_000), ("1.5KiB", 1536), ("1234", 1234), ("7b", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "2 lightyears", "1.2.3kB", "-3kB"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="not a size"):
        parse_size(text)


def test_decibels() -> None:
    assert parse_decibel("0.2dB") == parse_decibel("0.2") == parse_decibel(" 0.2 db ") == 0.2
    with pytest.raises(ConfigError, match="decibel"):
        parse_decibel("a little")


def test_compare(ply: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = tmp_path / "other.ply"
    write_scene(small_scene(40, seed=1), other)
    plot = tmp_path / "plot.png"
    assert main(["compare", str(ply), str(ply), str(other), "--json", "--plot", str(plot)]) == 0
    first, same, wrong = json.loads(capsys.readouterr().out)["files"]
    assert first["bytes"] == ply.stat().st_size
    assert first["psnr"] == same["psnr"] > 50  # the reference is 8-bit
    assert wrong["psnr"] < 30
    assert wrong["psnr_inside"] < wrong["psnr"] < 40
    assert plot.stat().st_size > 1000
    assert main(["compare", str(ply), str(other)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["file", "bytes"]
    assert len(lines) == 3
