"""`scenerep render`, `eval`: what they write, what they say, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from rendered_capture import photograph_scene, ring, small_scene

from scenerep.cli.main import main
from scenerep.errors import ConfigError, DataError
from scenerep.io import write_scene
from scenerep.io.camera_path import write_camera_path
from scenerep.io.video import write_video
from scenerep.runs import Run
from scenerep.splats.config import SplatsConfig


@pytest.fixture(scope="module")
def capture_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("render") / "capture"
    photograph_scene(folder, small_scene(), ring(8))
    return folder


@pytest.fixture
def run_dir(tmp_path: Path, capture_dir: Path) -> Path:
    run = Run.create(tmp_path / "run", "splats", SplatsConfig(), capture_dir, test_every=4)
    run.save_checkpoint(30, small_scene().arrays(), {"seconds": 90.0, "antialiased": False})
    return run.path


def read_png(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def video_frames(path: Path) -> tuple[list[np.ndarray], str, float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return frames, f"{stream.codec_context.name} {stream.codec_context.pix_fmt}", float(stream.average_rate or 0)


def test_eval_of_a_run(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(run_dir), "--json"]) == 0
    out = capsys.readouterr()
    result = json.loads(out.out)
    assert result["psnr"] > 58
    assert result["ssim"] > 0.999
    assert result["count"] == 60
    assert result["minutes"] == 1.5
    assert result["held_out"] == len(result["views"]) == 2
    assert "evaluating: 2/2" in out.err
    assert json.loads((run_dir / "eval" / "eval.json").read_text()) == result
    with Image.open(run_dir / "eval" / "contact.png") as sheet:
        assert sheet.width > 1000
    assert main(["eval", str(run_dir)]) == 0
    text = capsys.readouterr().out
    assert f"{result['psnr']:.2f} dB" in text and "1.50 minutes" in text


def test_eval_of_a_file_needs_the_data(tmp_path: Path, capture_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "scene.ply"
    write_scene(small_scene(), file)
    assert main(["eval", str(file)]) == 1
    assert "--data" in capsys.readouterr().err
    assert main(["eval", str(file), "--data", str(capture_dir), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["minutes"] is None
    assert result["count"] == 60
    assert list(tmp_path.iterdir()) == [file]
    write_scene(small_scene(0), tmp_path / "empty.ply")
    assert main(["eval", str(tmp_path / "empty.ply"), "--data", str(capture_dir)]) == 1
    assert "no Gaussians" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["orbit", "spiral", "interpolate"])
def test_render_a_video(run_dir: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = run_dir.parent / "x.mp4"
    command = ["render", str(run_dir), "--path", path, "--out", str(target), "--frames", "5", "--fps", "10"]
    assert main(command) == 0
    frames, codec, rate = video_frames(target)
    assert codec == "h264 yuv420p"
    assert rate == 10
    assert [frame.shape for frame in frames] == [(32, 48, 3)] * 5
    assert frames[0].std() > 10
    assert np.abs(frames[0].astype(int) - frames[2]).mean() > 1
    assert "rendering: 5/5" in capsys.readouterr().err
    before = target.read_bytes()
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert target.read_bytes() == before
    assert main([*command, "--overwrite"]) == 0


def test_render_pictures(run_dir: Path, capture_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_dir.parent / "frames"
    assert main(["render", str(run_dir), "--out", str(folder), "--frames", "3", "--size", "24", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["width"], result["height"]) == (3, 24, 16)
    assert sorted(file.name for file in folder.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    with Image.open(folder / "00000.png") as picture:
        assert picture.size == (24, 16)
    # View N is what the photograph N shows.
    assert main(["render", str(run_dir), "--view", "3", "--out", str(run_dir.parent / "v.png")]) == 0
    drawn = read_png(run_dir.parent / "v.png").astype(int)
    photo = read_png(sorted((capture_dir / "images").iterdir())[3]).astype(int)
    assert np.abs(drawn - photo).max() <= 1
    assert main(["render", str(run_dir), "--view", "0", "--depth", "--out", str(run_dir.parent / "d.png")]) == 0
    assert read_png(run_dir.parent / "d.png").std() > 10
    assert main(["render", str(run_dir), "--view", "8", "--out", str(run_dir.parent / "w.png")]) == 1
    assert "--view 8" in capsys.readouterr().err


def test_overwriting_a_folder_spares_what_is_not_pictures(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_dir.parent / "frames"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    command = ["render", str(run_dir), "--out", str(folder), "--frames", "2", "--overwrite"]
    assert main(command) == 1
    assert "other things than pictures" in capsys.readouterr().err
    (folder / "thesis.txt").unlink()
    (folder / "00007.png").write_bytes(b"old")
    assert main(command) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["00000.png", "00001.png"]
    assert {file.name for file in run_dir.parent.iterdir()} == {"run", "frames"}


def test_render_a_file_and_a_saved_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = tmp_path / "scene.ply"
    write_scene(small_scene(), scene)
    assert main(["render", str(scene), "--out", str(tmp_path / "a.png"), "--size", "64"]) == 0
    alone = read_png(tmp_path / "a.png")
    assert alone.shape == (36, 64, 3)
    assert (alone.max(axis=2) > 20).mean() > 0.2  # the orbit around a scene without cameras sees it
    write_camera_path(ring(4), tmp_path / "path.json", fps=5)
    command = ["render", str(scene), "--path", str(tmp_path / "path.json"), "--out", str(tmp_path / "b.mp4")]
    assert main(command) == 0
    frames, _, rate = video_frames(tmp_path / "b.mp4")
    assert (len(frames), rate) == (4, 5)
    assert main(["render", str(scene), "--path", "helix", "--out", str(tmp_path / "c.mp4")]) == 1
    assert "orbit, spiral, interpolate" in capsys.readouterr().err
    assert main(["render", str(scene), "--out", str(tmp_path / "c.gif")]) == 1
    assert main(["render", str(scene), "--frames", "0", "--out", str(tmp_path / "c.mp4")]) == 1
    assert {file.name for file in tmp_path.iterdir()} == {"scene.ply", "path.json", "a.png", "b.mp4"}


def test_a_run_whose_capture_is_gone_uses_its_kept_cameras(run_dir: Path, tmp_path: Path) -> None:
    config = json.loads((run_dir / "config.json").read_text())
    config |= {"data": str(tmp_path / "gone"), "data_relative": "../gone"}
    (run_dir / "config.json").write_text(json.dumps(config))
    write_camera_path(ring(8, size=(40, 30)), run_dir / "cameras.json")
    assert main(["render", str(run_dir), "--out", str(tmp_path / "a.png")]) == 0
    assert read_png(tmp_path / "a.png").shape == (30, 40, 3)


def test_video_of_odd_size_and_broken_input(tmp_path: Path) -> None:
    pictures = [np.full((33, 41, 3), value, np.uint8) for value in (0, 128, 255)]
    assert write_video(tmp_path / "a.mp4", pictures, 29.97) == (42, 34)
    frames, _, rate = video_frames(tmp_path / "a.mp4")
    assert rate == pytest.approx(29.97, abs=1e-3)
    assert [round(frame.mean()) for frame in frames] == pytest.approx([0, 128, 255], abs=3)
    with pytest.raises(DataError, match="at least one picture"):
        write_video(tmp_path / "b.mp4", [], 30)
    with pytest.raises(DataError, match="do not fit one video"):
        write_video(tmp_path / "b.mp4", [pictures[0], np.zeros((10, 10, 3), np.uint8)], 30)
    with pytest.raises(ConfigError, match=r"\.mp4"):
        write_video(tmp_path / "b.avi", pictures, 30)
    with pytest.raises(ConfigError, match="fps"):
        write_video(tmp_path / "b.mp4", pictures, 0)

    def failing():
        yield pictures[0]
        raise RuntimeError("the renderer broke")

    with pytest.raises(RuntimeError):
        write_video(tmp_path / "b.mp4", failing(), 30)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
