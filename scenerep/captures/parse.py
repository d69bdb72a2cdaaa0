"""Reading capture.json: strict, every fault with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scenerep.captures.capture import Capture, Points, View
from scenerep.captures.disk import FILE, VERSION
from scenerep.captures.points import points_from_ply
from scenerep.errors import DataError, FormatError
from scenerep.geometry.cameras import Camera, Distortion
from scenerep.geometry.poses import is_rotation

# Numbers of parameters that each lens model may have
_PARAMETERS = {"opencv": (4, 5, 8), "fisheye": (4,), "thin_prism": (8,)}


def read_capture(path: Path | str, *, max_side: int | None = None) -> Capture:
    """Reads what `write_capture` wrote. `path` is the folder or its capture.json.

    Raises:
        DataError: the file is not there.
        FormatError: capture.json or points.ply breaks the format; says where.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file} is not there", "name a capture folder")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise FormatError(file, "JSON", error.msg, error.pos) from error
    except UnicodeDecodeError as error:
        raise FormatError(file, "UTF-8 text", "other bytes", error.start) from error
    except RecursionError as error:
        raise FormatError(file, "JSON", "brackets nested too deep") from error
    return _parse(document, file, max_side)


class _Fields:
    """A JSON object whose fields are taken one by one with their types; what is left over is an error."""

    def __init__(self, file: Path, place: str, value: Any) -> None:
        self.file, self.place = file, place
        if not isinstance(value, dict):
            self.fail("an object", value)
        self.rest = dict(value)

    def fail(self, expected: str, found: Any, field: str = "") -> Any:
        text = json.dumps(found, default=str)
        place = ".".join(part for part in (self.place, field) if part)
        raise FormatError(
            self.file, f"{expected} in {place or 'the file'}", text if len(text) < 80 else text[:77] + "..."
        )

    def take(self, field: str, check: Callable[[Any], bool], expected: str) -> Any:
        if field not in self.rest:
            self.fail(f"a field {field!r}", sorted(self.rest))
        value = self.rest.pop(field)
        return value if check(value) else self.fail(expected, value, field)

    def close(self) -> None:
        if self.rest:
            self.fail("no unknown fields", sorted(self.rest))


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 20


def _inside(value: Any) -> bool:
    """A relative path that stays in the folder."""
    return _text(value) and "\0" not in value and not Path(value).is_absolute() and ".." not in Path(value).parts


def _inside_or_none(value: Any) -> bool:
    return value is None or _inside(value)


def _parse(document: Any, file: Path, max_side: int | None) -> Capture:
    top = _Fields(file, "", document)
    top.take("format", lambda v: v == "scenerep-capture", "'scenerep-capture'")
    top.take("version", lambda v: v == VERSION, f"version {VERSION} (a newer scenerep may read it)")
    top.take("conventions", _text, "text")
    source = top.take("source", _text, "text")
    ply = top.take("points", _inside_or_none, "a relative path or null")
    notes = top.take("warnings", lambda v: isinstance(v, list) and all(isinstance(x, str) for x in v), "texts")
    entries = top.take("views", lambda v: isinstance(v, list) and len(v) > 0, "a list of views")
    top.close()
    views = [_parse_view(file, f"views[{i}]", entry) for i, entry in enumerate(entries)]
    points: Points | None = None
    if ply is not None:
        place = file.parent / ply
        if not place.is_file():
            raise DataError(f"{place} is missing, but {file} names it", "put the file back")
        points = points_from_ply(place.read_bytes(), place)
    return Capture(file.parent, source, views, points, max_side=max_side, warnings=notes)


def _parse_view(file: Path, place: str, value: Any) -> View:
    view = _Fields(file, place, value)
    name = view.take("name", _text, "text")
    image = view.take("image", _inside, "a relative path inside the folder")
    mask, depth = (view.take(key, _inside_or_none, "a relative path or null") for key in ("mask", "depth"))
    depth_scale = view.take("depth_scale", _positive, "a positive number")
    split = view.take("split", lambda v: v in ("train", "test"), "'train' or 'test'")
    camera = _parse_camera(_Fields(file, f"{place}.camera", view.take("camera", lambda v: True, "")))
    view.close()
    root = file.parent
    return View(
        name, camera, root / image, root / mask if mask else None, root / depth if depth else None, depth_scale, split
    )


def _parse_camera(fields: _Fields) -> Camera:
    fx, fy = (float(fields.take(key, _positive, "a positive number of pixels")) for key in ("fx", "fy"))
    cx, cy = (float(fields.take(key, _number, "a number of pixels")) for key in ("cx", "cy"))
    width, height = (fields.take(key, _size, "a positive whole number of pixels") for key in ("width", "height"))
    rows = fields.take("world_from_camera", _is_pose, "a rigid 4x4 matrix, row by row")
    stored = fields.take("distortion", lambda v: v is None or isinstance(v, dict), "an object or null")
    fields.close()
    distortion = None
    if stored is not None:
        lens = _Fields(fields.file, f"{fields.place}.distortion", stored)
        model = lens.take("model", lambda v: v in _PARAMETERS, f"one of {', '.join(_PARAMETERS)}")
        counts = _PARAMETERS[model]
        params = lens.take(
            "params",
            lambda v: isinstance(v, list) and len(v) in counts and all(map(_number, v)),
            f"{' or '.join(map(str, counts))} numbers",
        )
        lens.close()
        distortion = Distortion(model, tuple(float(p) for p in params))
    return Camera(fx, fy, cx, cy, width, height, np.array(rows, dtype=np.float64), distortion)


def _is_pose(value: Any) -> bool:
    if not (isinstance(value, list) and len(value) == 4):
        return False
    if not all(isinstance(row, list) and len(row) == 4 and all(map(_number, row)) for row in value):
        return False
    matrix = np.array(value, dtype=np.float64)
    return bool(is_rotation(matrix[:3, :3]) and np.array_equal(matrix[3], [0, 0, 0, 1]))
