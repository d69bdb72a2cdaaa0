"""CompGS: groups, the model beside what the decoder computes, and the compressor as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rendered_capture import small_scene

from scenerep.captures import Capture
from scenerep.coding import decode_file
from scenerep.coding.anchored import Grid, Layout, bake
from scenerep.coding.anchored.bake import predict_primitives
from scenerep.coding.anchored.entropy import integer_network
from scenerep.compress import Goal, Job
from scenerep.compress.compgs.compressor import compress
from scenerep.compress.compgs.config import CompgsConfig
from scenerep.compress.compgs.group import group
from scenerep.compress.compgs.model import AnchoredModel, gaussian_bits
from scenerep.compress.views import Views
from scenerep.errors import ConfigError
from scenerep.events import Compressed
from scenerep.scenes import Gaussians

SMALL = CompgsConfig(coupled=4, reference=8, residual=8, width=16, prefit=40)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Arrays this small gain nothing by a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("m", [0, 1, 7, 8, 9, 100])
def test_groups_hold_everything_once(m: int) -> None:
    means = np.random.default_rng(0).normal(size=(m, 3))
    found = group(means, 8)
    assert found.shape == (-(-m // 8), 8)
    assert sorted(found[found >= 0].tolist()) == list(range(m))


def test_groups_are_near() -> None:
    means = np.random.default_rng(0).uniform(size=(800, 3))
    spread = means[group(means, 8)].std(axis=1).mean()
    assert spread < 0.5 * means.std(axis=0).mean()


def test_bits_are_those_of_the_gaussian() -> None:
    x, sigma = torch.arange(-6.0, 7.0), torch.tensor(1.0)
    p = torch.exp2(-gaussian_bits(x, torch.tensor(0.3), sigma))
    assert abs(float(p.sum()) - 1) < 0.01
    far = torch.tensor(50.0, requires_grad=True)
    gaussian_bits(far, torch.tensor(0.0), torch.tensor(0.0)).backward()
    assert far.grad is not None
    assert far.grad > 0


@pytest.fixture
def model() -> AnchoredModel:
    layout = Layout(coupled=3, reference=5, residual=4, width=7, entropy_width=6, sh_degree=2)
    rng = np.random.default_rng(0)
    made = AnchoredModel(layout, Grid((0, 0, 0), 0.01, 8), rng.integers(0, 256, (20, 3)), rng.normal(size=(20, 6)), 0)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn(p.shape, generator=random) * 0.3)
        made.reference.mul_(8)
        made.residual.mul_(8)
    return made


def test_model_and_decoder_agree(model: AnchoredModel) -> None:
    scene = model.integers(False, {})
    at = model.chosen()
    expected = predict_primitives(scene, slice(None))
    found = model.predict(at).detach().numpy().reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    for drawn, baked in zip(model.gaussians(), bake(scene).arrays().values(), strict=True):
        np.testing.assert_allclose(drawn.detach().numpy(), baked, rtol=2e-3, atol=2e-3)
    mean, sigma = model.distribution("scales", at.reference_hat)
    exact = integer_network(scene.weights, "scales", scene.reference) / 2**16
    np.testing.assert_allclose(torch.cat([mean, sigma], 1).detach().numpy(), exact, rtol=1e-4, atol=1e-4)


def test_gradients_reach_everything(model: AnchoredModel) -> None:
    random = torch.Generator().manual_seed(0)
    total = model.bits(model.chosen(), random) + sum(a.square().sum() for a in model.gaussians())
    total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.fixture(scope="module")
def known() -> Gaussians:
    return small_scene(150, degree=1)


def job(scene: Gaussians, capture: Capture, lambda_: float, folder: Path | None = None) -> Job:
    goal = Goal(lambda_=lambda_)
    return Job(scene, Views.of_capture(capture, capture.train), goal, steps=30, metadata={"a": 1}, folder=folder)


def finish(given: Job) -> bytes:
    last = list(compress(given, SMALL))[-1]
    assert isinstance(last, Compressed)
    return last.data


def test_a_scene_becomes_small_and_lambda_rules(known: Gaussians, capture: Capture) -> None:
    fine, coarse = (finish(job(known, capture, value)) for value in (2.0, 400.0))
    assert len(coarse) < len(fine)
    views = Views.of_capture(capture, capture.train)
    quality = [views.psnr(decode_file(data).scene) for data in (fine, coarse)]
    assert quality[0] > quality[1]
    assert quality[0] > 24
    assert decode_file(fine).scene.metadata["a"] == 1


@pytest.mark.parametrize("stop", [5, 20])
def test_interrupted_and_gone_on_with(known: Gaussians, capture: Capture, tmp_path: Path, stop: int) -> None:
    whole = finish(job(known, capture, 20.0))
    given = job(known, capture, 20.0, tmp_path / "work")
    given.open_folder({"test": stop})
    events = compress(given, SMALL)
    list(itertools.islice(events, stop))
    events.close()
    assert given.saved() is not None
    assert finish(given) == whole


def test_goals_that_it_does_not_take(known: Gaussians, capture: Capture) -> None:
    with pytest.raises(ConfigError, match="lambda"):
        next(compress(replace(job(known, capture, 1.0), goal=Goal(size=1000)), SMALL))
