"""What changes with the progress: boundaries and directions, whatever the tuned constants are."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerep.splats.config import SplatsConfig
from scenerep.splats.schedule import level_at, level_count, rates_at, sh_degree_at, target_count

PROGRESS = np.linspace(0, 1, 1001)
CONFIG = SplatsConfig()


def test_rates_only_fall_and_stay_positive():
    rows = np.array([list(asdict(rates_at(CONFIG, p, 2.0)).values()) for p in PROGRESS])
    assert (np.diff(rows, axis=0) <= 0).all()
    assert (rows > 0).all()


def test_rates_start_as_configured():
    start, r = rates_at(CONFIG, 0.0, 2.0), CONFIG.rates
    assert start.means == pytest.approx(2.0 * r.means)  # in units of the scene
    expected = (r.scales, r.quats, r.opacities, r.sh0, r.sh)
    found = (start.log_scales, start.quats, start.opacity_logits, start.sh0, start.sh)
    assert found == pytest.approx(expected)


def test_rates_cool_together_and_only_at_the_end():
    before, at, end = (rates_at(CONFIG, p, 1.0) for p in (0.0, CONFIG.rates.cool_from, 1.0))
    names = ("log_scales", "quats", "opacity_logits", "sh0", "sh")
    for name in names:
        assert getattr(before, name) == getattr(at, name)
    shares = [getattr(end, name) / getattr(at, name) for name in names]
    assert shares == pytest.approx([shares[0]] * 5)
    assert shares[0] < 1


def test_sh_degree_grows_one_by_one_to_the_wanted():
    for wanted in (0, 1, 2, 3):
        degrees = [sh_degree_at(replace(CONFIG, sh_degree=wanted), p) for p in PROGRESS]
        assert degrees[0] == 0
        assert degrees[-1] == wanted
        assert set(np.diff(degrees)) <= {0, 1}


def test_levels_all_appear_and_end_at_full_resolution():
    for levels in (0, 1, 2, 3):
        found = [level_at(levels, p) for p in PROGRESS]
        assert found[0] == levels
        assert found[-1] == 0
        assert set(found) == set(range(levels + 1))
        assert set(np.diff(found)) <= {0, -1}
        # Each level lasts at least as long as the coarser one before it.
        lasts = [found.count(level) for level in range(levels, 0, -1)]
        assert (np.diff(lasts) >= 0).all()


def test_level_count():
    pixels = [1, 100, 10_000, 100_000, 1_000_000, 10_000_000, 10**9]
    counts = [level_count(CONFIG, p) for p in pixels]
    assert counts[0] == 0
    assert counts[-1] == 3
    assert counts == sorted(counts)
    # Four times the pixels is one more halving.
    some = next(p for p in pixels if level_count(CONFIG, p) == 1)
    assert level_count(CONFIG, 4 * some) == 2
    assert level_count(CONFIG, 0) == 0
    assert {level_count(replace(CONFIG, coarse=False), p) for p in pixels} == {0}


@given(initial=st.integers(1, 5000), budget=st.integers(1, 5000), grow=st.floats(0, 1))
def test_target_count(initial, budget, grow):
    counts = [target_count(initial, budget, p, grow) for p in (i / 40 for i in range(41))]
    assert counts == sorted(counts)
    assert counts[-1] == budget
    assert max(counts) <= budget
    if initial < budget and grow > 0:
        assert counts[0] == initial
        assert target_count(initial, budget, grow, grow) == budget


def test_growth_is_geometric():
    counts = np.array([target_count(1000, 64_000, p, 0.6) for p in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)])
    np.testing.assert_allclose(counts[1:] / counts[:-1], 2.0, rtol=1e-3)
