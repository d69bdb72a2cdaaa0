"""The compressors of papers as wholes, and the parts that they are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rendered_capture import ring, small_scene

from scenerep.captures import Capture
from scenerep.coding import decode_file, summarise
from scenerep.compress import Goal, Job
from scenerep.compress.codebooks.learn import fit_layer, learn, nearest
from scenerep.compress.light_gaussian.compressor import compress as light_gaussian
from scenerep.compress.light_gaussian.config import LightGaussianConfig
from scenerep.compress.light_gaussian.significance import global_significance
from scenerep.compress.rdo_gaussian.compressor import compress as rdo_gaussian
from scenerep.compress.rdo_gaussian.config import RdoGaussianConfig
from scenerep.compress.views import Views
from scenerep.errors import ConfigError, DataError
from scenerep.events import Compressed
from scenerep.scenes import Gaussians

STEPS = 60


@pytest.fixture(scope="module")
def known() -> Gaussians:
    return small_scene(150, degree=3)


def job(scene: Gaussians, capture: Capture, goal: Goal, steps: int = STEPS) -> Job:
    return Job(scene, Views.of_capture(capture, capture.train), goal, steps=steps, metadata={"licence": "CC0"})


def finish(events) -> Compressed:
    last = list(events)[-1]
    assert isinstance(last, Compressed)
    return last


@pytest.mark.parametrize("simvq", [False, True])
def test_light_gaussian(known: Gaussians, capture: Capture, simvq: bool) -> None:
    config = LightGaussianConfig(prune=0.2, simvq=simvq)
    made = finish(light_gaussian(job(known, capture, Goal(quality="medium")), config))
    found = decode_file(made.data).scene
    assert (len(found), found.sh_degree) == (120, 2)
    assert found.metadata["licence"] == "CC0"
    assert 0 < found.metadata["method"]["used"] <= 1
    assert Views.of_capture(capture, capture.test).psnr(found) > 22
    assert "1.colour2.index" in summarise(made.data).streams


@pytest.mark.parametrize("size", [2200, 3500])
def test_light_gaussian_to_a_size(known: Gaussians, capture: Capture, size: int) -> None:
    made = finish(light_gaussian(job(known, capture, Goal(size=size), 12), LightGaussianConfig()))
    assert 0.9 * size < len(made.data) <= size  # one Gaussian of this small scene takes a hundredth of it
    assert made.report["count"] == len(decode_file(made.data).scene)


@pytest.mark.parametrize("simvq", [False, True])
def test_rdo_gaussian(known: Gaussians, capture: Capture, simvq: bool) -> None:
    config = RdoGaussianConfig(codewords=64, simvq=simvq)
    made = finish(rdo_gaussian(job(known, capture, Goal(lambda_=0.001)), config))
    found = decode_file(made.data).scene
    assert found.sh_degree == 3
    assert Views.of_capture(capture, capture.test).psnr(found) > 18
    assert found.metadata["method"]["codebooks"]["scale"]["codewords"] <= 64


@pytest.mark.slow
def test_a_larger_lambda_leaves_fewer(known: Gaussians, capture: Capture) -> None:
    """The masks need some 220 steps of Adam to fall from 0 to the threshold."""
    few, many = (
        finish(rdo_gaussian(job(known, capture, Goal(lambda_=lambda_), 300), RdoGaussianConfig(codewords=32)))
        for lambda_ in (1.0, 1e-5)
    )
    assert len(few.data) < len(many.data)
    assert few.report["count"] < many.report["count"]


def test_the_same_seed_gives_the_same_bytes(known: Gaussians, capture: Capture) -> None:
    for make in (
        lambda: light_gaussian(job(known, capture, Goal(quality="high"), 12), LightGaussianConfig()),
        lambda: rdo_gaussian(job(known, capture, Goal(lambda_=0.01), 12), RdoGaussianConfig(codewords=16)),
    ):
        assert finish(make()).data == finish(make()).data


def test_light_gaussian_goes_on_where_it_was(known: Gaussians, capture: Capture, tmp_path: Path) -> None:
    def work(folder: Path | None) -> Job:
        return replace(job(known, capture, Goal(quality="medium"), 20), folder=folder)

    whole = finish(light_gaussian(work(None), LightGaussianConfig())).data
    folder = tmp_path / "work"
    for stop in (5, 11):  # while it recovers, while it distils
        one = work(folder)
        if stop == 5:
            one.open_folder({})
        events = light_gaussian(one, LightGaussianConfig())
        for event in events:
            if getattr(event, "step", 0) == stop:
                break
        events.close()
    assert finish(light_gaussian(work(folder), LightGaussianConfig())).data == whole


def test_goals_that_they_do_not_meet(known: Gaussians, capture: Capture) -> None:
    with pytest.raises(ConfigError, match="no lambda and no loss"):
        finish(light_gaussian(job(known, capture, Goal(lambda_=1.0)), LightGaussianConfig(prune=0.5)))
    with pytest.raises(ConfigError, match="no size and no loss"):
        finish(rdo_gaussian(job(known, capture, Goal(size=1000)), RdoGaussianConfig()))
    without = Job(known, Views.of_renders(known, ring(4)), Goal(quality="low"))
    with pytest.raises(DataError, match="photographs"):
        finish(rdo_gaussian(without, RdoGaussianConfig()))
    assert len(decode_file(finish(light_gaussian(without, LightGaussianConfig())).data).scene) == 30


def test_global_significance() -> None:
    volumes = np.log(np.arange(1, 11))  # V_90 is the smallest but none, at rank 9 of the descending ones
    scales = np.repeat(volumes[:, None] / 3, 3, axis=1).astype(np.float32)
    np.testing.assert_allclose(global_significance(np.ones(10), scales), np.arange(1, 11) ** 0.1, rtol=1e-5)


def test_nearest_counts_bits() -> None:
    vectors, codewords = torch.tensor([[0.4], [0.9]]), torch.tensor([[0.0], [1.0]])
    assert nearest(vectors, codewords).tolist() == [0, 1]
    assert nearest(vectors, codewords, torch.tensor([9.0, 1.0]), 16.0).tolist() == [1, 1]


def test_learned_codebooks_beat_drawn_ones(rng: np.random.Generator) -> None:
    vectors = torch.from_numpy(rng.normal(size=(2000, 4)).astype(np.float32))
    errors = [
        float((vectors - c[nearest(vectors, c)]).square().sum())
        for c in (learn(vectors, 40, rounds=r, seed=0, simvq=simvq) for r, simvq in ((0, False), (9, True), (9, False)))
    ]
    assert errors[2] < errors[1] < errors[0]


def test_the_layer_is_the_best_fit(rng: np.random.Generator) -> None:
    frozen, layer = (torch.from_numpy(rng.normal(size=s).astype(np.float32)) for s in ((30, 3), (3, 3)))
    index = torch.from_numpy(rng.integers(0, 30, 200))
    found = fit_layer(frozen, (frozen @ layer)[index], index, torch.ones(200))
    torch.testing.assert_close(found, layer, atol=1e-3, rtol=1e-3)
