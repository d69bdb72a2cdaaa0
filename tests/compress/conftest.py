"""What tests of compressors share; each file has a scene of its own, the fixture `known`."""

from __future__ import annotations

import pytest
from rendered_capture import photograph_scene, ring

from scenerep.captures import Capture
from scenerep.scenes import Gaussians


@pytest.fixture(scope="module")
def capture(known: Gaussians, tmp_path_factory: pytest.TempPathFactory) -> Capture:
    """12 views of 48 x 32 pixels around the known scene; every 4th is held out."""
    return photograph_scene(tmp_path_factory.mktemp("known") / "capture", known, ring(12))
