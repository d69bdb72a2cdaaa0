"""Configurations as JSON: what comes back is what went in, and nothing else is taken."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerep.configs import config_from_json, config_to_json
from scenerep.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    every: int = 100
    rates: tuple[float, ...] = (1.0, 0.5)


@dataclass(frozen=True)
class Outer:
    name: str
    quality: Literal["fast", "high"] = "fast"
    steps: int | None = None
    minutes: float = 1.5
    on: bool = True
    size: tuple[int, int] = (3, 4)
    place: Path | None = None
    inner: Inner = field(default_factory=Inner)
    either: int | str = 3
    table: dict[str, float] = field(default_factory=dict)
    colours: list[tuple[float, float]] = field(default_factory=list)


_finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        Outer,
        name=st.text(),
        quality=st.sampled_from(["fast", "high"]),
        steps=st.none() | st.integers(),
        minutes=_finite,
        on=st.booleans(),
        size=st.tuples(st.integers(), st.integers()),
        place=st.none() | st.just(Path("a/b")),
        inner=st.builds(Inner, every=st.integers(), rates=st.lists(_finite).map(tuple)),
        either=st.integers() | st.text(),
        table=st.dictionaries(st.text(), _finite),
        colours=st.lists(st.tuples(_finite, _finite)),
    )
)
def test_round_trip(config: Outer) -> None:
    assert config_from_json(Outer, json.loads(json.dumps(config_to_json(config)))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepz": 3}, "c: unknown key 'stepz'"),
        ({"steps": "3"}, "c.steps: expected an integer, found '3'"),
        ({"steps": 3.0}, "c.steps: expected an integer"),
        ({"steps": True}, "c.steps: expected an integer"),
        ({"minutes": True}, "c.minutes: expected a finite number"),
        ({"minutes": float("nan")}, "c.minutes: expected a finite number"),
        ({"minutes": None}, "c.minutes: expected a finite number"),
        ({"on": 1}, "c.on: expected true or false, found 1"),
        ({"quality": "best"}, "c.quality: expected one of 'fast', 'high', found 'best'"),
        ({"size": [1]}, "c.size: expected 2 values"),
        ({"size": 5}, "c.size: expected an array"),
        ({"inner": {"every": 1, "x": 2}}, "c.inner: unknown key 'x'"),
        ({"inner": {"rates": [1, "a"]}}, "c.inner.rates[1]: expected a finite number"),
        ({"inner": 7}, "c.inner: expected an object"),
        ({"either": 1.5}, "c.either: expected an integer or text"),
        ({"table": {"a": "b"}}, "c.table.a: expected a finite number"),
        ({"name": None}, "c.name: expected text"),
    ],
)
def test_strict(change: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_json(Outer, {"name": "x"} | change, "c")
    assert message in caught.value.message
    assert caught.value.hint


def test_unknown_key_suggests_the_near_one() -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_json(Outer, {"name": "x", "minuts": 3})
    assert caught.value.hint == "did you mean minutes?"


def test_missing_keys_take_defaults_or_are_errors() -> None:
    assert config_from_json(Outer, {"name": "x"}) == Outer("x")
    with pytest.raises(ConfigError, match="name is missing"):
        config_from_json(Outer, {})


def test_an_int_is_taken_for_a_float_and_stays_exact() -> None:
    config = config_from_json(Outer, {"name": "x", "minutes": 2, "either": 2})
    assert isinstance(config.minutes, float)
    assert isinstance(config.either, int)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), object(), b"bytes"])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"Outer.minutes"):
        config_to_json(Outer("x", minutes=value))  # type: ignore[arg-type]
