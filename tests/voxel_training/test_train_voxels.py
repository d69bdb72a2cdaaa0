"""train voxels, and everything that takes its run: resume, eval, render, export, info, distill."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from scenerep.captures import Capture
from scenerep.cli.main import main
from scenerep.errors import ConfigError
from scenerep.evaluation import evaluate
from scenerep.events import Densified, Evaluated, Step
from scenerep.render import render
from scenerep.runs import Run
from scenerep.scenes import Gaussians, MipVoxels, Voxels
from scenerep.voxel_training.config import VoxelsConfig
from scenerep.voxel_training.distill import surface_points
from scenerep.voxel_training.mip import scale_shares
from scenerep.voxel_training.preview import voxels_as_splats
from scenerep.voxel_training.train import train

CONFIG = VoxelsConfig(steps=300, resolution=48, rays=256)
Json = Callable[..., dict]


def _train(capture: Capture, path: Path, config: VoxelsConfig = CONFIG) -> tuple[Run, list]:
    run = Run.create(path, "voxels", config, capture.root, test_every=4)
    return run, list(train(run, capture, config))


@pytest.fixture(scope="module")
def run_dir(object_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by the command line. Look at it, but change nothing."""
    out = tmp_path_factory.mktemp("voxels") / "run"
    arguments = ["--data", str(object_dir), "--test-every", "4", "--steps", "300", "--resolution", "48"]
    assert main(["train", "voxels", *arguments, "--rays", "256", "--out", str(out)]) == 0
    return out


@pytest.fixture
def run_json(capsys: pytest.CaptureFixture[str]) -> Json:
    def run(*args: str) -> dict:
        assert main([*args, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


def test_it_learns_the_scene(photographed: Capture, tmp_path: Path) -> None:
    run, events = _train(photographed, tmp_path / "run")
    steps = [event for event in events if isinstance(event, Step)]
    assert [event.step for event in steps] == list(range(1, 301))
    last = [event for event in events if isinstance(event, Evaluated)][-1]
    # Pictures of the background alone have about 12 dB.
    assert last.psnr > 20
    scene = run.scene()
    assert isinstance(scene, Voxels)
    assert 100 < len(scene) < np.prod(scene.size)
    assert evaluate(scene, photographed, basic=True).psnr == pytest.approx(last.psnr, abs=0.05)


def test_the_grid_grows(photographed: Capture, tmp_path: Path) -> None:
    _, events = _train(photographed, tmp_path / "run", VoxelsConfig(steps=20, resolution=100, rays=64))
    assert sum(isinstance(event, Densified) for event in events) == 1


def test_an_interrupted_training_ends_with_the_same_bits(photographed: Capture, tmp_path: Path) -> None:
    config = VoxelsConfig(steps=130, resolution=90, rays=64)
    whole, _ = _train(photographed, tmp_path / "whole", config)
    run = Run.create(tmp_path / "cut", "voxels", config, photographed.root, test_every=4)
    events = train(run, photographed, config)
    list(islice(events, 70))
    events.close()  # type: ignore[attr-defined]
    list(train(Run.open(tmp_path / "cut"), photographed, config))
    a, b = whole.scene(), Run.open(tmp_path / "cut").scene()
    for name, array in a.arrays().items():
        np.testing.assert_array_equal(array, b.arrays()[name], err_msg=name)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (VoxelsConfig(minutes=0), "minutes"),
        (VoxelsConfig(rays=0), "rays"),
        (VoxelsConfig(resolution=5), "resolution"),
        (VoxelsConfig(resolution=5000), "resolution"),
    ],
)
def test_numbers_that_make_no_sense(photographed: Capture, tmp_path: Path, config: VoxelsConfig, name: str) -> None:
    run = Run.create(tmp_path / "run", "voxels", config, photographed.root)
    with pytest.raises(ConfigError, match=name):
        next(iter(train(run, photographed, config)))


def test_unbounded_and_random_background(photographed: Capture, tmp_path: Path) -> None:
    config = VoxelsConfig(steps=60, resolution=40, rays=128, space="unbounded", background="random", sh_degree=0)
    run, _ = _train(photographed, tmp_path / "run", config)
    scene = run.scene()
    assert isinstance(scene, Voxels)
    assert scene.contracted
    assert scene.values.shape[1] == 4


def test_eval_and_info(run_dir: Path, run_json: Json) -> None:
    measured = run_json("eval", str(run_dir))
    told = run_json("info", str(run_dir))
    assert measured["psnr"] > 20
    assert measured["count"] == told["count"] > 100
    assert told["unit"] == "voxels"
    low, high = np.array(told["bounds"])
    assert (low < [0.5, 0, 2]).all()
    assert (high > [0.5, 0, 2]).all()
    assert (run_dir / "eval" / "contact.png").is_file()


def test_resume(run_dir: Path, object_dir: Path, tmp_path: Path, run_json: Json) -> None:
    out = tmp_path / "run"
    common = ["--data", str(object_dir), "--test-every", "4", "--resolution", "48", "--rays", "128"]
    run_json("train", "voxels", *common, "--steps", "20", "--out", str(out))
    assert run_json("resume", str(out), "--steps", "30")["step"] == 30


def test_render(run_dir: Path, tmp_path: Path, run_json: Json) -> None:
    out = tmp_path / "x.png"
    run_json("render", str(run_dir), "--view", "0", "--out", str(out))
    picture = iio.imread(out)
    assert picture.shape == (32, 48, 3)
    assert picture.std() > 20


def test_export_of_a_mesh_and_of_splats(run_dir: Path, tmp_path: Path, run_json: Json, capsys) -> None:
    found = run_json("export", str(run_dir), str(tmp_path / "mesh.ply"), "--mesh.resolution", "64")
    assert found["triangles"] > 100
    assert main(["export", str(run_dir), str(tmp_path / "x.ply")]) == 1
    error = capsys.readouterr().err
    assert "splats only" in error
    assert "scenerep distill" in error
    assert not (tmp_path / "x.ply").exists()


def test_distil_to_splats(run_dir: Path, tmp_path: Path, run_json: Json) -> None:
    out = tmp_path / "splats"
    found = run_json("distill", str(run_dir), "--to", "splats", "--steps", "60", "--out", str(out))
    assert found["unit"] == "Gaussians"
    assert found["psnr"] > 15
    assert isinstance(Run.open(out).scene(), Gaussians)


def test_surface_points_lie_on_the_object(run_dir: Path, photographed: Capture) -> None:
    scene = Run.open(run_dir).scene()
    assert isinstance(scene, Voxels)
    points = surface_points(scene, [photographed.camera(i) for i in photographed.train], 2000)
    assert 200 < len(points) <= 2000
    distance = np.linalg.norm(points.xyz - np.array([0.5, 0, 2]), axis=1)
    assert np.mean(distance < 1.6) > 0.95


def test_the_preview_looks_like_the_field(run_dir: Path, photographed: Capture) -> None:
    scene = Run.open(run_dir).scene()
    assert isinstance(scene, Voxels)
    camera = photographed.camera(1)
    field = render(scene, camera, background=(1, 1, 1)).rgb
    splats = render(voxels_as_splats(scene), camera, background=(1, 1, 1)).rgb
    assert np.mean((field - splats) ** 2) < 0.02 < np.mean((field - 1) ** 2)


def test_mip_voxels_end_to_end(object_dir: Path, tmp_path: Path, run_json: Json, capsys) -> None:
    out = tmp_path / "mip"
    common = ["--data", str(object_dir), "--test-every", "4", "--resolution", "48", "--rays", "512", "--levels", "3"]
    found = run_json("train", "mip-voxels", *common, "--scales", "3", "--steps", "250", "--out", str(out))
    assert found["psnr"] > 18
    assert run_json("eval", str(out), "--max-side", "12")["psnr"] > 18  # at a quarter of the size
    scene = Run.open(out).scene()
    assert isinstance(scene, MipVoxels)
    assert len(scene.indices) == 3
    assert run_json("resume", str(out), "--steps", "260")["step"] == 260
    run_json("render", str(out), "--view", "0", "--out", str(tmp_path / "x.png"))
    assert main(["train", "mip-voxels", *common, "--scales", "9", "--steps", "2", "--out", str(tmp_path / "no")]) == 1
    assert "--scales" in capsys.readouterr().err


def test_shares_of_the_scales() -> None:
    for scales in (1, 2, 4):
        shares = scale_shares(scales)
        assert len(shares) == scales
        assert sum(shares) == pytest.approx(1)
        assert min(shares) > 0.05


def test_compress_and_what_takes_the_file(
    run_dir: Path, object_dir: Path, tmp_path: Path, run_json: Json, capsys
) -> None:
    small, exact = tmp_path / "small.srz", tmp_path / "exact.srz"
    found = run_json("compress", "rdo", str(run_dir), "--out", str(exact), "--target-loss", "0.2dB")
    assert found["psnr"] > found["psnr_before"] - 0.3
    assert found["ratio_to_float32"] > 4
    assert found["bytes"] == exact.stat().st_size == sum(found["streams"].values())
    size = exact.stat().st_size // 2
    assert run_json("compress", "rdo", str(run_dir), "--out", str(small), "--target-size", f"{size}")["bytes"] <= size
    again = run_json("eval", str(exact), "--data", str(object_dir))
    assert again["psnr"] == pytest.approx(found["psnr"], abs=0.01)
    told = run_json("info", str(exact))
    assert told["representation"] == "voxels"
    assert told["count"] == found["count"]
    run_json("render", str(exact), "--data", str(object_dir), "--view", "1", "--out", str(tmp_path / "x.png"))
    arrays = tmp_path / "x.npz"
    assert run_json("decompress", str(exact), str(arrays))["count"] == found["count"]
    with np.load(arrays) as file:
        assert file["values"].shape == (found["count"], 13)
    assert main(["decompress", str(exact), str(tmp_path / "x.ply")]) == 1
    assert ".npz" in capsys.readouterr().err
    assert main(["compress", "compgs", str(run_dir), "--out", str(tmp_path / "no.srz")]) == 1
    assert "compress rdo" in capsys.readouterr().err
