"""The examples run as their docstrings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from rendered_capture import small_scene

from scenerep.io import read_scene, write_scene

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, *args: object) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_render_orbit(tmp_path: Path) -> None:
    write_scene(small_scene(), tmp_path / "scene.ply")
    out = run("render_orbit.py", tmp_path / "scene.ply", tmp_path / "a.mp4", "--frames", 3, "--width", 64)
    assert "3 pictures of 64 x 36" in out
    assert (tmp_path / "a.mp4").stat().st_size > 500


def test_edit_splats(tmp_path: Path) -> None:
    scene = small_scene()
    write_scene(scene, tmp_path / "scene.ply")
    out = run("edit_splats.py", tmp_path / "scene.ply", tmp_path / "b.ply", "--radius", 0.6, "--brighter", 0.1)
    edited = read_scene(tmp_path / "b.ply")
    distance = np.linalg.norm(edited.means - np.median(scene.means, axis=0), axis=1)
    assert 0 < len(edited) < len(scene)
    assert distance.max() < 0.6
    assert f"{len(edited)} of 60" in out
