"""A capture of a known scene, small enough that a whole training takes a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rendered_capture import photograph_scene, points_about, ring, small_scene

from scenerep.captures import Capture
from scenerep.render import render
from scenerep.scenes import Gaussians

_SH0 = 0.28209479177387814


@pytest.fixture(scope="session")
def known_scene() -> Gaussians:
    """What the photographs of `tiny` show."""
    return small_scene(40)


@pytest.fixture(scope="session")
def tiny_dir(known_scene: Gaussians, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "capture"
    photograph_scene(folder, known_scene, ring(12))
    return folder


@pytest.fixture
def tiny(tiny_dir: Path, known_scene: Gaussians) -> Capture:
    """12 views of 48 x 32 pixels around 40 blobs, black behind; every 4th is held out; 160 points."""
    from scenerep.data_tools import open_capture

    return open_capture(tiny_dir, test_every=4).with_points(points_about(known_scene))


@pytest.fixture(scope="session")
def _depths_and_masks(known_scene: Gaussians, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("depths")
    for i, camera in enumerate(ring(12)):
        drawn = render(known_scene, camera, depth=True)
        assert drawn.depth is not None
        np.save(folder / f"{i}.npy", np.where(drawn.alpha > 0.9, drawn.depth, 0).astype(np.float32))
        mask = np.full(drawn.alpha.shape, 255, np.uint8)
        mask[: mask.shape[0] // 4] = 0
        Image.fromarray(mask).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def with_depth(tiny: Capture, _depths_and_masks: Path) -> Capture:
    """`tiny` with depth maps."""
    views = [replace(view, depth=_depths_and_masks / f"{i}.npy") for i, view in enumerate(tiny.views)]
    return tiny.with_views(views)


@pytest.fixture
def with_masks(tiny: Capture, _depths_and_masks: Path) -> Capture:
    """`tiny` with masks that hide the upper quarter of each picture."""
    views = [replace(view, mask=_depths_and_masks / f"{i}.png") for i, view in enumerate(tiny.views)]
    return tiny.with_views(views)
