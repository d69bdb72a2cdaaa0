"""train field on a capture: a radiance field as a network, drawn from the grid that is baked of it."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from rendered_capture import photograph_scene, ring, small_scene

from scenerep.captures import Capture
from scenerep.cli.main import main
from scenerep.data_tools import open_capture
from scenerep.errors import ConfigError
from scenerep.field_shapes import shape_within
from scenerep.implicit.bake import bake, network_places, space_of_network
from scenerep.implicit.config import FieldConfig
from scenerep.implicit.evaluate import field_values, network_of
from scenerep.implicit.radiance import RadianceSubject
from scenerep.implicit.train import train
from scenerep.runs import Run
from scenerep.scenes import PICTURE, RADIANCE, NeuralField, Voxels
from scenerep.voxels.space import OPTICAL, activated, vertex_positions

OPTIONS = ["--test-every", "4", "--steps", "400", "--weights", "20000", "--batch", "1024", "--resolution", "48"]


@pytest.fixture(scope="module")
def object_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 views of 48 x 32 pixels with alpha."""
    folder = tmp_path_factory.mktemp("object") / "capture"
    photograph_scene(folder, small_scene(40), ring(12), alpha=True)
    return folder


@pytest.fixture(scope="module")
def capture(object_dir: Path) -> Capture:
    return open_capture(object_dir, test_every=4)


@pytest.fixture(scope="module")
def run_dir(object_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Look at it, but change nothing."""
    out = tmp_path_factory.mktemp("radiance") / "run"
    assert main(["train", "field", "--data", str(object_dir), *OPTIONS, "--out", str(out)]) == 0
    return out


def _json(capsys: pytest.CaptureFixture[str], *args: str) -> dict:
    assert main([*args, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_it_learns_the_scene(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = Run.open(run_dir).scene()
    assert isinstance(scene, NeuralField)
    assert (scene.subject, scene.shape.network, scene.contracted) == (RADIANCE, "hash-grid", False)
    measured = _json(capsys, "eval", str(run_dir))
    # Pictures of the background alone have about 12 dB.
    assert measured["psnr"] > 18
    assert (run_dir / "eval" / "contact.png").is_file()


def test_the_baked_grid_has_the_networks_values(run_dir: Path) -> None:
    scene = Run.open(run_dir).scene()
    assert isinstance(scene, NeuralField)
    grid = bake(scene)
    assert isinstance(grid, Voxels)
    assert 100 < len(grid) < np.prod(grid.size) / 2
    space, network = space_of_network(scene), network_of(scene)
    places = network_places(space, vertex_positions(grid))
    np.testing.assert_allclose(grid.values, field_values(network, places), atol=1e-3)
    # What was left out hides next to nothing.
    others = np.setdiff1d(np.arange(np.prod(grid.size)), grid.index)[::7]
    nx, ny, _ = grid.size
    layer, rest = np.divmod(others, nx * ny)
    at = np.stack([rest % nx, rest // nx, layer], axis=1) / (np.array(grid.size) - 1) * 2 - 1
    hidden = activated(field_values(network, at.astype(np.float32))[:, 0]) * OPTICAL * space.inner_voxel
    assert (hidden > 0.02).mean() < 0.002


def test_rays_through_a_network_are_those_through_its_grid(capture: Capture) -> None:
    """With values that are linear in space, which a grid interpolates exactly."""
    subject = RadianceSubject(capture, 40)

    class Linear(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = [6 + 2 * x[:, 0] - x[:, 2], *(0.5 * k * x[:, k % 3] for k in range(12))]
            return torch.stack(rows, dim=1)

    from scenerep.geometry.rays import camera_rays
    from scenerep.voxels.grid import Grid

    camera = capture.camera(capture.train[0])
    origins, directions = camera_rays(camera)
    field = Linear()
    rgb, alpha = subject._march(field, origins, directions, 5)  # type: ignore[arg-type]
    nx, ny, nz = subject.space.size
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (nz, ny, nx)), indexing="ij")
    values = field(torch.from_numpy(np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32))).numpy()
    grid = Grid.from_scene(Voxels(subject.space.size, np.arange(nx * ny * nz), values, subject.space.box))
    drawn = grid.render(origins, directions, np.zeros(3, np.float32))
    assert alpha.mean() > 0.1
    np.testing.assert_allclose(alpha.numpy(), drawn.alpha, atol=0.02)
    np.testing.assert_allclose(rgb.numpy(), drawn.rgb, atol=0.02)


def test_an_interrupted_training_ends_with_the_same_bits(capture: Capture, tmp_path: Path) -> None:
    config = FieldConfig(steps=200, weights=3000, batch=64)
    whole = Run.create(tmp_path / "whole", "field", config, capture.root, test_every=4)
    list(train(whole, RadianceSubject(capture, 40), config))
    run = Run.create(tmp_path / "cut", "field", config, capture.root, test_every=4)
    events = train(run, RadianceSubject(capture, 40), config)
    list(islice(events, 150))
    events.close()  # type: ignore[attr-defined]
    list(train(Run.open(tmp_path / "cut"), RadianceSubject(capture, 40), config))
    a, b = whole.scene(), Run.open(tmp_path / "cut").scene()
    for name, array in a.arrays().items():
        np.testing.assert_array_equal(array, b.arrays()[name], err_msg=name)


def test_what_takes_the_run(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.srz"
    found = _json(capsys, "compress", "rdo", str(run_dir), "--out", str(out), "--quality", "medium")
    assert found["ratio_to_float32"] > 4
    assert found["psnr"] > found["psnr_before"] - 0.6
    again = _json(capsys, "eval", str(out), "--data", str(Run.open(run_dir).data))
    assert abs(again["psnr"] - found["psnr"]) < 1.5  # on other held-out views: a file does not say which
    _json(capsys, "render", str(run_dir), "--view", "0", "--out", str(tmp_path / "x.png"))
    _json(capsys, "export", str(run_dir), str(tmp_path / "mesh.ply"), "--mesh.resolution", "32")
    assert _json(capsys, "info", str(run_dir))["subject"] == "radiance"


def test_errors(object_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["train", "field", "--data", str(object_dir), "--out", str(tmp_path / "run")]
    assert main([*common, "--resolution", "5"]) == 1
    assert "--resolution" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    shape = shape_within("siren", 2, 3, 500)
    weights = {name: np.zeros(size, np.float32) for name, size in shape.arrays().items()}
    with pytest.raises(ConfigError, match="no radiance field"):
        space_of_network(NeuralField(shape, weights, PICTURE, np.array([[0.0, 0], [4, 3]])))
