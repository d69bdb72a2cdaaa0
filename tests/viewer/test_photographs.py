"""Photographs as files for the page."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rendered_capture import photograph_scene, ring, small_scene

from scenerep.viewer import Surroundings, photographs
from scenerep.viewer.photographs import Photographs


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    capture = photograph_scene(tmp_path / "capture", small_scene(), ring(4, size=(400, 240)))
    return Surroundings(capture=capture)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_lossless_is_pixel_for_pixel(surroundings: Surroundings) -> None:
    found = opened(Photographs(surroundings).lossless(1))
    np.testing.assert_array_equal(np.asarray(found), surroundings.photograph(1))


@pytest.mark.parametrize(("width", "size"), [(0, (160, 96)), (160, (160, 96)), (161, (320, 192)), (9999, (400, 240))])
def test_widths(surroundings: Surroundings, width: int, size: tuple[int, int]) -> None:
    small = opened(Photographs(surroundings).small(2, width))
    assert (small.format, small.size) == ("JPEG", size)
    expected = Image.fromarray(surroundings.photograph(2)).resize(size, Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(small, float) - np.asarray(expected, float)).mean() < 3


def test_what_is_kept_is_bounded(surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Photographs(surroundings)
    data = [made.small(i, 160) for i in range(4)]
    assert made.small(0, 100) is data[0]
    monkeypatch.setattr(photographs, "_KEPT", len(data[1]))
    made = Photographs(replace(surroundings))
    first, again = made.small(1, 160), made.small(1, 160)
    assert again is first
    made.small(2, 160)
    assert made.small(1, 160) is not first


def test_without_a_capture_there_are_none() -> None:
    assert len(Photographs(Surroundings())) == 0
