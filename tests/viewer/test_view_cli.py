"""`scenerep view` as it is typed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from rendered_capture import small_scene
from short_run import train_briefly

from scenerep.cli.main import main
from scenerep.geometry.cameras import camera_entry
from scenerep.io.scene_files import write_scene


@contextmanager
def viewing(*args: str | Path) -> Iterator[str]:
    """The line that `scenerep view ARGS` says; Ctrl-C has to end it as done."""
    command = [sys.executable, "-m", "scenerep.cli.main", "view", *map(str, args), "--port", "0", "--no-open"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    said = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith("showing"):
                break
        yield "".join(said)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.communicate()


def told(said: str) -> dict:
    url = re.search(r"at (http://localhost:\d+) \(this machine only\); Ctrl-C ends it", said)
    assert url, said
    with urllib.request.urlopen(f"{url[1]}/scenes.json", timeout=60) as answer:
        return json.load(answer)


def test_two_scenes_are_compared(tmp_path: Path) -> None:
    scene = small_scene(70)
    camera = small_camera()
    scene.metadata.update(background=[1.0, 0.5, 0.0], up=[0.0, 0.0, 1.0], cameras=[camera])
    write_scene(scene, tmp_path / "a.srz")
    write_scene(small_scene(30), tmp_path / "b.glb")
    with viewing(tmp_path / "a.srz", tmp_path / "b.glb", "--most", "40") as said:
        assert "showing 100 Gaussians in 2 scenes" in said and "b.glb is sent to the page as a PLY" in said
        assert "cameras" not in said
        page = told(said)
    assert [(s["name"], s["format"], s["count"]) for s in page["scenes"]] == [
        ("a.srz", "srz", 70),
        ("b.glb", "ply", 30),
    ]
    assert page["background"] == [1, 0.5, 0] and page["up"] == [0, 0, 1] and page["budget"] == 40
    np.testing.assert_allclose(page["cameras"][0]["world_from_camera"], camera["world_from_camera"], atol=1e-5)


def small_camera() -> dict:
    from rendered_capture import ring

    return camera_entry(ring(3)[1])


def test_a_run_is_shown_with_its_photographs(tmp_path: Path, synthetic_dir: Path) -> None:
    run = tmp_path / "run"
    train_briefly(synthetic_dir, run, steps=5, most=200)
    with viewing(run) as said:
        page = told(said)
        assert [(s["name"], s["format"]) for s in page["scenes"]] == [("run", "ply")]
        assert len(page["cameras"]) == 16 and page["cameras"][page["start"]]["split"] == "train"
        url = re.search(r"http://localhost:\d+", said)
        assert url
        with urllib.request.urlopen(f"{url[0]}/{page['cameras'][2]['photo']}", timeout=60) as answer:
            assert answer.read(8) == b"\x89PNG\r\n\x1a\n"


def test_the_address_for_others_holds_a_token(tmp_path: Path) -> None:
    write_scene(small_scene(5), tmp_path / "a.ply")
    with viewing(tmp_path / "a.ply", "--host", "0.0.0.0") as said:
        assert re.search(r"at http://[^/ ]+:\d+/\?token=[\w-]{20,} \(whoever has this address\)", said), said


def test_viser_page_on_request(tmp_path: Path) -> None:
    write_scene(small_scene(5), tmp_path / "a.ply")
    with viewing(tmp_path / "a.ply", "--viser") as said:
        url = re.search(r"http://localhost:\d+", said)
        assert url
        with urllib.request.urlopen(url[0], timeout=60) as answer:
            assert b"viser" in answer.read().lower()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "nothing to show"),
        (["missing.ply"], "missing.ply"),
        (["broken.srz"], "broken.srz"),
        (["empty.ply"], "no Gaussians"),
        (["a.ply", "--most", "0"], "--most is 0"),
        (["a.ply", "a.ply", "--viser"], "one scene"),
        (["a.ply", "--viser", "--host", "0.0.0.0"], "this machine only"),
        (["a.ply", "--port", "70000"], "port 70000"),
        (["a.ply", "--host", "192.0.2.1", "--port", "0"], "192.0.2.1"),
    ],
)
def test_errors(
    tmp_path: Path,
    args: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scene(small_scene(5), Path("a.ply"))
    write_scene(small_scene(0), Path("empty.ply"))
    write_scene(small_scene(5), Path("broken.srz"))
    data = bytearray(Path("broken.srz").read_bytes())
    data[20] ^= 1
    Path("broken.srz").write_bytes(data)
    assert main(["view", "--no-open", *args]) == 1
    assert message in capsys.readouterr().err
