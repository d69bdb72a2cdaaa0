"""`scenerep data ...` as a user runs it: results on stdout, progress on stderr, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import sfm_scene
from PIL import Image

from scenerep.cli.main import main


def test_photos_prints_the_report(tmp_path, capsys):
    folder = tmp_path / "in"
    sfm_scene.write_photos(folder, count=5)
    (folder / "broken.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert main(["data", "photos", str(folder), str(out), "--json", "--test-every", "0"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["registered"], report["total"], list(report["skipped"])) == (5, 5, ["broken.jpg"])
    assert report == json.loads((out / "report.json").read_text())
    assert "features: 5/5" in captured.err and "warning: skipped: " in captured.err
    assert "glog" not in captured.err and ".cc:" not in captured.err

    assert main(["data", "photos", str(folder), str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err

    assert main(["data", "check", str(out), "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert any("views to train on" in finding["what"] for finding in findings)


def test_failures_exit_with_1_and_leave_nothing(tmp_path, capfd):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (64, 48), (40 * i, 90, 120)).save(folder / f"{i}.png")
    assert main(["data", "photos", str(folder), str(tmp_path / "out")]) == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err and "hint: " in captured.err
    assert ".cc:" not in captured.err  # COLMAP's own words
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_video_that_is_none(tmp_path, capsys):
    (tmp_path / "v.mp4").write_text("no video")
    assert main(["data", "video", str(tmp_path / "v.mp4"), str(tmp_path / "out")]) == 1
    assert "v.mp4" in capsys.readouterr().err


def test_synthetic_and_check(tmp_path, capsys):
    out = tmp_path / "s"
    assert main(["data", "synthetic", str(out), "--views", "4", "--size", "24", "--points", "50", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"capture": str(out), "train": 3, "test": 1, "points": 50}
    assert main(["data", "check", str(out)]) == 0
    assert "4 views" in capsys.readouterr().out
    (out / "images").rename(out / "gone")
    assert main(["data", "check", str(out)]) == 1


def test_termination_is_clean(tmp_path):
    """pycolmap makes SIGTERM print a stack trace and end the process at once; ours removes what is half-done."""
    folder, work = tmp_path / "in", tmp_path / "work"
    sfm_scene.write_photos(folder, count=3)
    work.mkdir()
    # The signal comes at the first word about features: pycolmap is loaded and at work then.
    script = """
import os, signal, sys
from scenerep.cli import common
from scenerep.cli.main import main
plain = common._plain_progress
def killing():
    update = plain()
    def wrapped(stage, done, total):
        if stage == "features":
            os.kill(os.getpid(), signal.SIGTERM)
        update(stage, done, total)
    return wrapped
common._plain_progress = killing
sys.exit(main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", script, "data", "photos", str(folder), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(work)}, check=False)
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr and "stack trace" not in done.stderr
    assert list(work.iterdir()) == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [["--lens", "nonsense"], ["--max-side", "big"], []])
def test_wrong_usage_exits_with_2(tmp_path, capsys, wrong):
    with pytest.raises(SystemExit) as caught:
        main(["data", "photos", *([str(tmp_path), str(tmp_path / "out")] if wrong else []), *wrong])
    assert caught.value.code == 2
