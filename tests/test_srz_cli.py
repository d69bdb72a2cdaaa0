"""`scenerep info` and `decompress` of `.srz` files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rendered_capture import small_scene

from scenerep.cli.main import main
from scenerep.io import read_scene, write_scene


def test_info_and_decompress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, out = tmp_path / "x.srz", tmp_path / "x.ply"
    write_scene(small_scene(degree=2), small)
    assert main(["info", str(small), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["count"] == 60
    assert found["bytes"] == small.stat().st_size == sum(found["streams"].values())
    assert main(["info", str(small)]) == 0
    assert "geometry" in capsys.readouterr().out

    assert main(["decompress", str(small), str(out), "--sh-degree", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decoded_layers"] == 1
    scene = read_scene(out)
    assert len(scene) == 60
    assert scene.sh[:, 1:4].any()
    assert not scene.sh[:, 4:].any()
    assert main(["decompress", str(small), str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_broken_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.srz"
    write_scene(small_scene(degree=0), broken)
    broken.write_bytes(broken.read_bytes()[:-3])
    assert main(["decompress", str(broken), str(tmp_path / "x.ply")]) == 1
    assert "broken.srz at byte" in capsys.readouterr().err
    assert main(["decompress", str(tmp_path / "none.srz"), str(tmp_path / "x.ply")]) == 1
    assert not (tmp_path / "x.ply").exists()
