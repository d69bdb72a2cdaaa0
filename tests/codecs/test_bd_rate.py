"""Bjontegaard's difference in rate."""

from __future__ import annotations

import pytest

from scenerep.codecs.bd_rate import bd_rate

_CURVE = [(0.1, 26.0), (0.2, 29.0), (0.4, 31.5), (0.8, 35.0), (1.6, 38.0)]


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.7])
def test_a_curve_of_other_rates(factor: float) -> None:
    found = bd_rate([(rate * factor, quality) for rate, quality in _CURVE], _CURVE)
    assert found is not None
    assert found[0] == pytest.approx(factor - 1, abs=1e-9)
    assert found[1:] == (26.0, 38.0)


def test_only_what_both_have_counts() -> None:
    found = bd_rate([(rate / 2, quality + 3) for rate, quality in _CURVE], _CURVE)
    assert found is not None
    assert found[1:] == (29.0, 38.0)
    assert bd_rate([(0.1, 50.0), (0.2, 60.0)], _CURVE) is None
    assert bd_rate([(0.1, 30.0)], _CURVE) is None


def test_points_that_give_nothing_are_left_out() -> None:
    assert bd_rate([*_CURVE, (0.5, 31.0)], _CURVE) == pytest.approx((0.0, 26.0, 38.0))
