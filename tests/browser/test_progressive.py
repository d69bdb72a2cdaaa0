"""A scene in layers while its bytes come: an early picture, which only gets better."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from splat_scenes import camera, page_camera, psnr, surfaces
from unsteady_server import Faults, UnsteadyServer
from viewer_page import NO_SCENES, capture, open_viewer, until

from scenerep.coding.container import read_head
from scenerep.io.scene_files import read_scene
from scenerep.render import render
from scenerep.viewer.publish import scene_in_layers
from scenerep.viewer.serve import WEB

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

COUNT = 22_000
FIRST_BYTES = 65_536
"""What the page asks for first; a tenth of the file has to be no less."""


@pytest.fixture
def server() -> Iterator[UnsteadyServer]:
    running = UnsteadyServer(WEB)
    yield running
    running.stop()


def test_pictures_come_early_and_get_better(
    page: Page, server: UnsteadyServer, tmp_path: Path, tolerated: list[str]
) -> None:
    tolerated.append(NO_SCENES)
    data = scene_in_layers(surfaces(COUNT), (camera(0), camera(1)), {})
    assert len(data) > 10 * FIRST_BYTES - 1
    head = read_head(data)
    ends = [max(c.offset + sum(c.lengths) for c in head.chunks if c.layer == i) for i in range(head.layer_count)]
    (tmp_path / "layered.srz").write_bytes(data)
    seen = camera(0, size=(160, 120))
    truth = np.clip(render(read_scene(tmp_path / "layered.srz"), seen).rgb, 0, 1)

    # The server sends nothing beyond a tenth of the file until there is a picture, and then layer by layer.
    faults = server.faults["layered.srz"] = Faults(data, limit=len(data) // 10)
    page.set_viewport_size({"width": 320, "height": 240})
    open_viewer(page, f"{server.url}/index.html?scene=/unsteady/layered.srz")
    quality = []
    for layer, end in enumerate(ends):
        if layer > 0:
            faults.limit = end
        until(page, "(n) => scenerep.stats().scenes[0]?.layers === n", layer + 1)
        loaded = sum(c.count for c in head.chunks if c.layer <= layer)
        (told,) = page.evaluate("() => scenerep.stats().scenes")
        assert told["loaded"] == loaded and told["received"] <= faults.limit
        until(page, "(n) => scenerep.stats().scenes[0].drawn > 0.5 * n", loaded)  # on the canvas, sorted
        found = capture(page, width=160, height=120, camera=page_camera(seen))
        quality.append(psnr(found[..., :3] / 255.0, truth))
    assert quality[0] > psnr(0 * truth, truth) + 3
    assert all(after >= before for before, after in pairwise(quality)), quality
    assert quality[-1] > 55
