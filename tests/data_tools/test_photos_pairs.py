"""Which pictures are matched: every list is sorted, without doubles, and holds the pairs that matter."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scenerep.data_tools import pairs


def _sound(found: list[tuple[int, int]], count: int) -> bool:
    return found == sorted(set(found)) and all(0 <= i < j < count for i, j in found)


@given(st.integers(0, 40), st.integers(1, 12), st.booleans())
def test_sequential(count, overlap, far):
    found = pairs.sequential(count, overlap, far=far)
    assert _sound(found, count)
    assert all((i, i + 1) in found for i in range(count - 1))
    if not far:
        assert all(j - i <= overlap for i, j in found)
    elif count > 2 ** (overlap - 1):
        assert (0, 2 ** (overlap - 1)) in found


@given(st.integers(0, 20))
def test_exhaustive(count):
    found = pairs.exhaustive(count)
    assert _sound(found, count) and len(found) == count * (count - 1) // 2


def test_near_on_map_sees_metres_not_degrees():
    # At 60 degrees north a degree of longitude is half as long as one of latitude.
    positions = [(60.0, 10.0), (60.0, 10.0015), (60.001, 10.0), None, (60.5, 10.0)]
    assert pairs.near_on_map(positions, neighbours=1) == [(0, 1), (0, 2), (2, 4)]
    assert pairs.near_on_map([None, (1.0, 1.0)]) == []


def test_look_alikes_finds_the_pictures_of_one_place(rng):
    # Four places with 60 words each; every picture shows 40 of its place's words, with noise.
    places = rng.integers(0, 120, (4, 60, 128)).astype(float)
    pictures = [
        np.clip(places[i % 4][rng.permutation(60)[:40]] + rng.normal(0, 4, (40, 128)), 0, 255) for i in range(16)
    ]
    found = pairs.look_alikes([p.astype(np.uint8) for p in pictures], neighbours=3)
    assert _sound(found, 16)
    same = [pair for pair in found if (pair[0] - pair[1]) % 4 == 0]
    assert len(same) == len(found) == 4 * 6


def test_look_alikes_without_descriptors():
    empty = np.zeros((0, 128), np.uint8)
    assert pairs.look_alikes([empty, empty]) == []
    assert pairs.look_alikes([]) == []
    one = np.ones((5, 128), np.uint8)
    assert pairs.look_alikes([empty, one, one]) == [(1, 2)]
