"""`scenerep export`: the file holds the scene, and the command says what it does not hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rendered_capture import small_scene

from scenerep.cli.main import main
from scenerep.io import read_scene
from scenerep.runs import Run
from scenerep.splats.config import SplatsConfig


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    run = Run.create(tmp_path / "run", "splats", SplatsConfig(), tmp_path)
    scene = replace(small_scene(degree=2), antialiased=True)
    run.save_checkpoint(5, {**scene.arrays(), "adam": np.zeros(3)}, {"seconds": 1.0, "antialiased": True})
    return run.path


def test_export_of_a_run(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run_dir.parent / "x.ply"
    assert main(["export", str(run_dir), str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["count"] == 60
    assert result["bytes"] == out.stat().st_size
    assert any("antialiased" in line for line in result["lost"])
    got, want = read_scene(out), small_scene(degree=2)
    for name, array in want.arrays().items():
        np.testing.assert_array_equal(got.arrays()[name], array)
    assert got.antialiased

    assert main(["export", str(run_dir), str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["export", str(run_dir), str(out), "--overwrite"]) == 0
    text = capsys.readouterr()
    assert "60" in text.out
    assert "not in the file: the optimiser's state" in text.err


def test_export_refuses_what_it_cannot_do(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parent = run_dir.parent
    assert main(["export", str(run_dir), str(parent / "x.stl")]) == 1
    assert ".ply" in capsys.readouterr().err
    assert main(["export", str(parent / "nothing"), str(parent / "x.ply")]) == 1
    (parent / "broken.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\n")
    assert main(["export", str(parent / "broken.ply"), str(parent / "x.ply")]) == 1
    assert "broken.ply at byte" in capsys.readouterr().err
    assert {file.name for file in parent.iterdir()} == {"run", "broken.ply"}


def test_crop_by_a_file(run_dir: Path) -> None:
    crop = run_dir.parent / "crop.json"
    crop.write_text(json.dumps({"crop_box": [0, -2, 1, 1, 2, 2.5]}))
    by_file, by_numbers = run_dir.parent / "file.ply", run_dir.parent / "numbers.ply"
    assert main(["export", str(run_dir), str(by_file), "--crop", str(crop)]) == 0
    box = ["0", "-2", "1", "1", "2", "2.5"]
    assert main(["export", str(run_dir), str(by_numbers), "--crop-box", *box]) == 0
    assert by_file.read_bytes() == by_numbers.read_bytes()
    assert 0 < len(read_scene(by_file)) < 60


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"crop_box": [0, 0, 0, 1, 1]}',
        '{"crop_box": [0, 0, 0, 1, 1, NaN]}',
        '{"crop_box": "012345"}',
        '{"crop_box": [0, 0, 2, 1, 1, 1]}',
        '{"crop_box": [0, 0, 0, 1, 1, true]}',
        "\u00ff{",
    ],
)
def test_broken_crop_files_are_named(run_dir: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    crop = run_dir.parent / "bad.json"
    crop.write_text(text)
    assert main(["export", str(run_dir), str(run_dir.parent / "x.ply"), "--crop", str(crop)]) == 1
    assert "bad.json" in capsys.readouterr().err
    assert main(["export", str(run_dir), str(run_dir.parent / "x.ply"), "--crop", str(crop) + "x"]) == 1
    assert "bad.jsonx" in capsys.readouterr().err
