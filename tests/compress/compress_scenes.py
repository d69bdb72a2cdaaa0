"""A small capture, and a scene that was trained on it, more or less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rendered_capture import photograph_scene, ring, small_scene

from scenerep.captures import Capture
from scenerep.scenes import Gaussians


@pytest.fixture(scope="session")
def known() -> Gaussians:
    return small_scene(150, degree=2)


@pytest.fixture(scope="session")
def capture(known: Gaussians, tmp_path_factory: pytest.TempPathFactory) -> Capture:
    """12 views of 48 x 32 pixels around 150 blobs; every 4th is held out."""
    return photograph_scene(tmp_path_factory.mktemp("known") / "capture", known, ring(12))


@pytest.fixture(scope="session")
def trained(known: Gaussians) -> Gaussians:
    """The known scene, a little off, with every Gaussian twice at half the weight: half of them can go."""
    rng = np.random.default_rng(1)
    twice = known.select(np.repeat(np.arange(len(known)), 2))
    arrays = {name: a + rng.normal(0, 0.01, a.shape).astype(np.float32) for name, a in twice.arrays().items()}
    opacity = 1 / (1 + np.exp(-twice.opacity_logits))
    half = 1 - np.sqrt(1 - opacity)
    arrays["opacity_logits"] = np.log(half / (1 - half))
    return replace(twice, **arrays)
