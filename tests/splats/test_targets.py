"""Training pictures: what is kept, what is read ahead, and that neither shows."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from scenerep.captures import Capture
from scenerep.errors import DataError
from scenerep.splats.targets import Targets

BLACK = np.zeros(3, np.float32)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """(view, name of the thread) of every picture that a capture was asked for."""
    seen: list[tuple[int, str]] = []
    image = Capture.image

    def recorded(self: Capture, i: int) -> np.ndarray:
        seen.append((i, threading.current_thread().name))
        return image(self, i)

    monkeypatch.setattr(Capture, "image", recorded)
    return seen


@pytest.mark.parametrize("keep", [0, 1 << 30])
def test_what_is_read_ahead_is_what_would_be_read(keep: int, synthetic: Capture, loads: list[tuple[int, str]]):
    ahead, plain = Targets(synthetic, BLACK, keep), Targets(synthetic, BLACK, keep)
    order = synthetic.train[:6]
    for place, view in enumerate(order):
        found = ahead.get(view, 1, BLACK)
        ahead.prefetch(order[place + 1 : place + 3], 1)
        wanted = plain.get(view, 1, BLACK)
        assert np.array_equal(found.rgb, wanted.rgb) and found.rgb.dtype == np.uint8
        assert found.camera == wanted.camera
    threads = [name for _, name in loads]
    assert sum(name.startswith("targets") for name in threads) == len(order) - 1  # each once, all but the first
    assert len(loads) == 2 * len(order)


def test_what_is_kept_is_not_read_again(synthetic: Capture, loads: list[tuple[int, str]]):
    targets = Targets(synthetic, BLACK)
    a, b = synthetic.train[:2]
    first = targets.get(a, 0, BLACK)
    targets.prefetch([a], 0)
    assert targets.get(a, 0, BLACK) is first and len(loads) == 1
    targets.prefetch([b], 0)
    targets.prefetch([], 0)  # the plan has changed; what comes is still right
    assert np.array_equal(targets.get(b, 0, BLACK).rgb, Targets(synthetic, BLACK).get(b, 0, BLACK).rgb)


def test_the_budget_is_kept(synthetic: Capture):
    one = Targets(synthetic, BLACK).get(synthetic.train[0], 0, BLACK)
    size = one.rgb.nbytes + (0 if one.mask is None else one.mask.nbytes)
    targets = Targets(synthetic, BLACK, keep_bytes=3 * size + size // 2)
    for view in synthetic.train[:8]:
        targets.get(view, 0, BLACK)
    assert len(targets._kept) == 3 and 0 <= targets._free < size


def test_an_error_while_reading_ahead_waits_for_its_picture(synthetic: Capture, monkeypatch: pytest.MonkeyPatch):
    good, bad = synthetic.train[:2]
    image = Capture.image

    def broken(self: Capture, i: int) -> np.ndarray:
        if i == bad:
            raise DataError("the picture is broken")
        return image(self, i)

    monkeypatch.setattr(Capture, "image", broken)
    targets = Targets(synthetic, BLACK)
    targets.prefetch([bad, good], 0)
    assert targets.get(good, 0, BLACK).rgb.size
    with pytest.raises(DataError, match="broken"):
        targets.get(bad, 0, BLACK)
