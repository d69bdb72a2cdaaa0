"""Captures of a known scene, small enough that a whole training takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from rendered_capture import photograph_scene, ring, small_scene

from scenerep.captures import Capture


@pytest.fixture(scope="session")
def object_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 views of 48 x 32 pixels with alpha."""
    folder = tmp_path_factory.mktemp("object") / "capture"
    photograph_scene(folder, small_scene(40), ring(12), alpha=True)
    return folder


@pytest.fixture
def photographed(object_dir: Path) -> Capture:
    from scenerep.data_tools import open_capture

    return open_capture(object_dir, test_every=4)
