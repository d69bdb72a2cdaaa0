"""train field, and everything that takes its run: resume, eval, export, compress, decompress, info."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import trimesh

from scenerep.cli.main import main
from scenerep.coding import decode_file
from scenerep.errors import ConfigError
from scenerep.events import Evaluated, Scored, Step
from scenerep.implicit.config import FieldConfig
from scenerep.implicit.picture import draw_picture
from scenerep.implicit.subjects import open_subject
from scenerep.implicit.train import train
from scenerep.runs import Run
from scenerep.scenes import PICTURE, SURFACE, NeuralField

Json = Callable[..., dict]


@pytest.fixture
def run_json(capsys: pytest.CaptureFixture[str]) -> Json:
    def run(*args: str) -> dict:
        assert main([*args, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(scope="module")
def picture_run(picture_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Look at it, but change nothing."""
    out = tmp_path_factory.mktemp("field") / "picture"
    options = ["--steps", "200", "--weights", "6000", "--batch", "1024"]
    assert main(["train", "field", "--data", str(picture_file), *options, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def surface_run(mesh_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Look at it, but change nothing."""
    out = tmp_path_factory.mktemp("field") / "surface"
    options = ["--steps", "1500", "--weights", "6000", "--batch", "2048"]
    assert main(["train", "field", "--data", str(mesh_file), *options, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("network", ["siren", "finer", "hash-grid", "sl2a"])
def test_every_network_learns_the_picture(network: str, picture_file: Path, tmp_path: Path) -> None:
    config = FieldConfig(network=network, steps=150, weights=6000, batch=1024)  # type: ignore[arg-type]
    run = Run.create(tmp_path / "run", "field", config, picture_file)
    subject = open_subject(picture_file, None, "white")
    events = list(train(run, subject, config))
    steps = [event for event in events if isinstance(event, Step)]
    assert [event.step for event in steps] == list(range(1, 151))
    last = [event for event in events if isinstance(event, Evaluated)][-1]
    # The mean colour alone has about 11 dB.
    assert last.psnr > 22
    scene = run.scene()
    assert isinstance(scene, NeuralField)
    assert scene.subject == PICTURE
    assert len(scene) <= 6000


@pytest.mark.parametrize("network", ["siren", "hash-grid"])
def test_an_interrupted_training_ends_with_the_same_bits(network: str, picture_file: Path, tmp_path: Path) -> None:
    config = FieldConfig(network=network, steps=40, weights=3000, batch=256)  # type: ignore[arg-type]

    def subject():
        return open_subject(picture_file, None, "white")

    whole = Run.create(tmp_path / "whole", "field", config, picture_file)
    list(train(whole, subject(), config))
    run = Run.create(tmp_path / "cut", "field", config, picture_file)
    events = train(run, subject(), config)
    list(islice(events, 17))
    events.close()  # type: ignore[attr-defined]
    list(train(Run.open(tmp_path / "cut"), subject(), config))
    a, b = whole.scene(), Run.open(tmp_path / "cut").scene()
    for name, array in a.arrays().items():
        np.testing.assert_array_equal(array, b.arrays()[name], err_msg=name)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (FieldConfig(minutes=0), "minutes"),
        (FieldConfig(batch=0), "batch"),
        (FieldConfig(rate=-1), "rate"),
        (FieldConfig(layers=0), "layers"),
        (FieldConfig(weights=10), "weights"),
        (FieldConfig(weights=3000, layers=16, network="hash-grid"), "weights"),
    ],
)
def test_numbers_that_make_no_sense(picture_file: Path, tmp_path: Path, config: FieldConfig, name: str) -> None:
    run = Run.create(tmp_path / "run", "field", config, picture_file)
    with pytest.raises(ConfigError, match=name):
        next(iter(train(run, open_subject(picture_file, None, "white"), config)))


def test_a_picture(picture_run: Path, picture_file: Path, tmp_path: Path, run_json: Json) -> None:
    measured = run_json("eval", str(picture_run))
    assert measured["psnr"] > 22
    assert measured["ssim"] > 0.6
    assert iio.imread(picture_run / "eval" / "contact.png").shape == (48, 3 * 64 + 16, 3)
    told = run_json("info", str(picture_run))
    assert told["unit"] == "weights"
    assert told["count"] == measured["count"]
    out = tmp_path / "out.png"
    run_json("export", str(picture_run), str(out))
    drawn, truth = iio.imread(out), iio.imread(picture_file)
    assert drawn.shape == truth.shape
    mse = ((drawn.astype(float) - truth) ** 2).mean()
    assert 10 * np.log10(255**2 / mse) == pytest.approx(measured["psnr"], abs=0.01)


def test_a_picture_at_another_size(picture_run: Path) -> None:
    scene = Run.open(picture_run).scene()
    assert isinstance(scene, NeuralField)
    own, double = draw_picture(scene), draw_picture(scene, max_side=128)
    assert double.shape == (96, 128, 3)
    reduced = double.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced - own).mean() < 0.02


def test_a_surface(surface_run: Path, tmp_path: Path, run_json: Json) -> None:
    measured = run_json("eval", str(surface_run))
    assert measured["f_score"] > 0.9
    assert measured["distance"] < 0.02
    assert iio.imread(surface_run / "eval" / "contact.png").shape == (512, 3 * 512 + 16, 3)
    out = tmp_path / "torus.glb"
    found = run_json("export", str(surface_run), str(out), "--mesh.resolution", "64")
    assert found["triangles"] > 1000
    run_json("export", str(surface_run), str(tmp_path / "torus.ply"), "--mesh.resolution", "64", "--mesh.keep", "0.3")
    mesh = trimesh.load_mesh(tmp_path / "torus.ply")
    # In the place and the size of the mesh that was learned.
    np.testing.assert_allclose(mesh.bounds, [[7.3, -5.7, 0.3], [12.7, -0.3, 1.7]], atol=0.1)
    assert mesh.volume == pytest.approx(2 * np.pi**2 * 2 * 0.7**2, rel=0.1)


def test_compressed_networks(surface_run: Path, picture_run: Path, tmp_path: Path, run_json: Json) -> None:
    for run, quality in ((surface_run, "f_score"), (picture_run, "psnr")):
        out = tmp_path / f"{quality}.srz"
        found = run_json("compress", "rdo", str(run), "--out", str(out), "--quality", "medium")
        allowed = 0.3 if quality == "psnr" else 0.005
        assert found["ratio_to_float32"] > 4
        assert found[quality] > found[f"{quality}_before"] - 1.5 * allowed
        assert found["bytes"] == out.stat().st_size
        assert isinstance(decode_file(out.read_bytes()).scene, NeuralField)
        data = Run.open(run).data
        again = run_json("eval", str(out), "--data", str(data))
        assert again[quality] == pytest.approx(found[quality])
        assert run_json("info", str(out))["bits_per_weight"] == pytest.approx(found["bits_per_weight"], abs=1e-3)


def test_sizes_are_kept(picture_run: Path, tmp_path: Path, run_json: Json) -> None:
    out = tmp_path / "x.srz"
    found = run_json("compress", "rdo", str(picture_run), "--out", str(out), "--target-size", "3kB")
    assert 2850 < found["bytes"] <= 3000
    coarse = tmp_path / "y.srz"
    found = [
        run_json("compress", "rdo", str(picture_run), "--out", str(coarse), "--overwrite", "--lambda", str(lam))
        for lam in (1e3, 1e4, 1e5)
    ]
    assert found[0]["bytes"] > found[1]["bytes"] > found[2]["bytes"]
    assert found[0]["psnr"] > found[2]["psnr"]


def test_decompress(surface_run: Path, tmp_path: Path, run_json: Json) -> None:
    out = tmp_path / "x.srz"
    run_json("compress", "rdo", str(surface_run), "--out", str(out), "--quality", "low")
    run_json("decompress", str(out), str(tmp_path / "x.npz"))
    with np.load(tmp_path / "x.npz") as arrays:
        assert str(arrays["subject"]) == SURFACE
        assert json.loads(str(arrays["shape"]))["network"] == "siren"
        assert arrays["w1"].ndim == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["render", "RUN"], "no views"),
        (["view", "RUN", "--no-open"], "no views"),
        (["export", "RUN", "x.splat"], "not written"),
        (["export", "RUN", "x.srz"], "not written"),
        (["export", "RUN", "x.png"], "no picture"),
        (["compress", "compgs", "RUN", "--out", "x.srz"], "compress rdo"),
        (["compress", "rdo", "RUN", "--out", "x.srz", "--target-loss", "1dB"], "no PSNR"),
        (["compress", "rdo", "RUN", "--out", "x.srz", "--target-size", "100b"], "cannot be reached"),
        (["distill", "RUN"], "no run of a voxel field"),
        (["eval", "RUN", "--data", "PICTURE"], "is a picture"),
    ],
)
def test_what_a_surface_cannot_do(
    arguments: list[str],
    message: str,
    surface_run: Path,
    picture_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"RUN": str(surface_run), "PICTURE": str(picture_file)}
    assert main([names.get(word, word) for word in arguments]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.glob("x.*")) == []


def test_resume_and_refusals(
    picture_file: Path, tmp_path: Path, run_json: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    common = ["--data", str(picture_file), "--weights", "2000", "--batch", "256"]
    assert main(["train", "field", *common, "--steps", "10", "--viewer", "--out", str(out)]) == 1
    assert "--viewer" in capsys.readouterr().err
    assert not out.exists()
    run_json("train", "field", *common, "--steps", "10", "--out", str(out))
    found = run_json("resume", str(out), "--steps", "20")
    assert found["step"] == 20
    assert main(["resume", str(out), "--steps", "30", "--viewer"]) == 1


def test_a_mesh_scores_while_it_trains(mesh_file: Path, tmp_path: Path) -> None:
    config = FieldConfig(steps=20, weights=1000, batch=256)
    run = Run.create(tmp_path / "run", "field", config, mesh_file)
    events = list(train(run, open_subject(mesh_file, None, "white"), config))
    scored = [event for event in events if isinstance(event, Scored)]
    assert len(scored) == 4
    assert [entry["f_score"] for entry in run.metrics() if "f_score" in entry] == [s.f_score for s in scored]
