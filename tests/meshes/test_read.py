"""`scenerep info` on meshes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trimesh

from scenerep.cli.main import main


@pytest.mark.parametrize("ending", ["glb", "ply", "obj", "stl"])
def test_info_of_a_mesh(tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"box.{ending}"
    trimesh.creation.box((1, 2, 3)).export(path)
    assert main(["info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["triangles"], found["bounds"][1]) == ("mesh", 12, [0.5, 1.0, 1.5])


def test_a_broken_mesh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "box.glb"
    path.write_bytes(trimesh.creation.box().export(file_type="glb")[:300])
    assert main(["info", str(path)]) == 1
    assert "box.glb" in capsys.readouterr().err
