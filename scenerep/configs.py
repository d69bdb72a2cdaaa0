"""Configuration dataclasses to JSON and back, strictly.

A saved configuration decides what a resumed run does, so nothing is guessed: an unknown key, a wrong type or a value
outside a Literal is a ConfigError that names the place. A key that is missing takes the field's default: files written
by older versions stay readable.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from scenerep.errors import ConfigError

T = TypeVar("T")


def config_to_json(config: Any) -> Any:
    """A configuration as JSON values: dataclasses become objects, tuples become arrays, paths become strings.

    Raises:
        ConfigError: A value that JSON cannot say (not finite, or of another type).
    """
    return _to_json(config, type(config).__name__)


def _to_json(value: Any, place: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _to_json(getattr(value, f.name), f"{place}.{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_to_json(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {str(key): _to_json(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{place} is {value}", "give a finite number")
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ConfigError(f"{place} is a {type(value).__name__}, which a configuration cannot hold")


def config_from_json(cls: type[T], data: Any, place: str = "config") -> T:
    """Builds the dataclass `cls` from what `config_to_json` made of it.

    Fields may be bool, int, float, str, Path, None, Literal, unions of these, tuples, lists, dicts with text keys, and
    nested dataclasses. An int is taken for a float; a bool is never taken for a number.

    Args:
        place: Name of `data` in messages, for example `runs/fox/config.json: config`.

    Raises:
        ConfigError: Names the place, what was expected and what stands there.
    """
    if not isinstance(data, dict):
        raise _wrong(place, "an object", data)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(fields)}"
            raise ConfigError(f"{place}: unknown key {key!r}", hint)
    hints = get_type_hints(cls)
    values = {}
    for name, f in fields.items():
        if name in data:
            values[name] = _from_json(hints[name], data[name], f"{place}.{name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{place}: {name} is missing", "the file was cut or edited; start a new run")
    return cls(**values)


def _from_json(kind: Any, value: Any, place: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if hasattr(kind, "__metadata__"):  # Annotated[X, ...]
        return _from_json(args[0], value, place)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return config_from_json(kind, value, place)  # type: ignore[arg-type]
    if origin is Literal:
        # 1 == True in Python, so the types are compared too.
        if any(value == choice and type(value) is type(choice) for choice in args):
            return value
        raise _wrong(place, "one of " + ", ".join(map(repr, args)), value)
    if origin in (Union, types.UnionType):
        return _from_union(args, value, place)
    if origin in (tuple, list) or kind in (tuple, list):
        return _from_array(kind, origin or kind, args, value, place)
    if origin is dict or kind is dict:
        if not isinstance(value, dict):
            raise _wrong(place, "an object", value)
        item = args[1] if args else Any
        return {key: _from_json(item, entry, f"{place}.{key}") for key, entry in value.items()}
    return _from_scalar(kind, value, place)


def _from_union(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    choices = [kind for kind in kinds if kind is not type(None)]
    if len(choices) == 1:  # Optional: the message of the one type is the better one
        return _from_json(choices[0], value, place)
    # An exact match first, so that `float | int` gives an int back as an int.
    for kind in sorted(choices, key=lambda kind: type(value) is not kind):
        try:
            return _from_json(kind, value, place)
        except ConfigError:
            continue
    raise _wrong(place, " or ".join(map(_name, kinds)), value)


def _from_array(kind: Any, origin: type, args: tuple[Any, ...], value: Any, place: str) -> Any:
    if not isinstance(value, list):
        raise _wrong(place, "an array", value)
    if not args:
        kinds = [Any] * len(value)
    elif origin is list or (len(args) == 2 and args[1] is Ellipsis):
        kinds = [args[0]] * len(value)
    elif len(args) == len(value):
        kinds = list(args)
    else:
        raise _wrong(place, f"{len(args)} values", value)
    return origin(_from_json(k, v, f"{place}[{i}]") for i, (k, v) in enumerate(zip(kinds, value)))


def _from_scalar(kind: Any, value: Any, place: str) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and is_number and math.isfinite(value):
        return float(value)
    if kind is int and is_number and isinstance(value, int):
        return value
    if kind in (bool, str) and isinstance(value, kind):
        return value
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is type(None) and value is None:
        return None
    if kind not in (bool, int, float, str, Path, type(None)):
        raise ConfigError(f"{place} has a type that a configuration cannot hold: {_name(kind)}")
    raise _wrong(place, _name(kind), value)


def _name(kind: Any) -> str:
    plain = {bool: "true or false", int: "an integer", float: "a finite number", str: "text", Path: "a path"}
    return plain.get(kind) or ("null" if kind is type(None) else str(getattr(kind, "__name__", kind)))


def _wrong(place: str, expected: str, found: Any) -> ConfigError:
    return ConfigError(f"{place}: expected {expected}, found {found!r}", "correct the value or start a new run")
