"""Our own capture on disk: a folder with capture.json, points.ply, images/, masks/ and depth/ (see docs/captures.md)."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from scenerep.captures.capture import Capture, Points, View
from scenerep.captures.points import points_from_ply, points_to_ply
from scenerep.captures.resample import fit
from scenerep.errors import DataError, FormatError
from scenerep.geometry.cameras import Camera, Distortion
from scenerep.geometry.poses import is_rotation

FILE = "capture.json"
VERSION = 1
_CONVENTIONS = "OpenCV camera axes (x right, y down, z forward), world_from_camera row by row, pixel centres at +0.5"
_PARAMETERS = {"opencv": (4, 5, 8), "fisheye": (4,), "thin_prism": (8,)}

Progress = Callable[[str, int, int], None]


def write_capture(
    capture: Capture,
    out: Path | str,
    *,
    overwrite: bool = False,
    pictures: Literal["copy", "pinhole"] = "copy",
    extra: Callable[[Path], None] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes a capture as a folder that stands on its own; it appears whole or not at all.

    Args:
        capture: What to write.
        out: The folder to make.
        overwrite: Replace `out` if it exists.
        pictures: `copy` keeps the files byte for byte with their distorted cameras (`max_side` must not shrink them);
            `pinhole` writes the pictures as `capture.image(i)` hands them out, undistorted and resized: JPEG of quality
            95, or PNG if the source is one or has alpha.
        extra: Called with the temporary folder before it gets its name, to add files (report.json, sparse/0).
        progress: Called as progress("pictures", done, total).

    Returns:
        `out`.

    Raises:
        DataError: `out` exists and `overwrite` is not set, a picture is broken, or the disk is full.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise DataError(f"{out} exists already", "choose another folder, or pass --overwrite to replace it")
    views = capture.views
    shrunk = any(
        fit(v.camera.width, v.camera.height, capture.max_side) != (v.camera.width, v.camera.height) for v in views
    )
    if pictures == "copy" and shrunk:
        raise DataError("pictures='copy' cannot shrink pictures", "use pictures='pinhole', or capture.resized(None)")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        temporary.chmod(0o755)  # mkdtemp's 0700 would stay with the folder
        entries = []
        taken: set[str] = set()
        for i in range(len(views)):
            entries.append(_write_view(capture, i, temporary, pictures, taken))
            if progress:
                progress("pictures", i + 1, len(views))
        if capture.points is not None:
            (temporary / "points.ply").write_bytes(points_to_ply(capture.points))
        document = {
            "format": "scenerep-capture",
            "version": VERSION,
            "conventions": _CONVENTIONS,
            "source": capture.source,
            "points": None if capture.points is None else "points.ply",
            "warnings": list(capture.warnings),
            "views": entries,
        }
        (temporary / FILE).write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
        if extra:
            extra(temporary)
        _replace_folder(temporary, out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}", "free some space, or choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


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


def _write_view(capture: Capture, i: int, out: Path, pictures: str, taken: set[str]) -> dict[str, Any]:
    view = capture.views[i]
    copy = pictures == "copy"
    suffix = view.image.suffix.lower()
    if not copy:
        picture = capture.image(i)
        suffix = ".png" if suffix == ".png" or picture.shape[2] == 4 else ".jpg"
    # The view's name is the picture's relative path in the source; ".." and drive letters are left out.
    parts = [part for part in Path(view.name).with_suffix(suffix).parts if part not in ("..", "/")]
    relative = Path(*parts)
    while str(relative) in taken:  # a.jpg and a.png both become a.jpg
        relative = relative.with_name(f"{relative.stem}_{suffix[1:]}{suffix}")
    taken.add(str(relative))
    files: dict[str, str | None] = {"image": str(Path("images") / relative), "mask": None, "depth": None}
    _target(out, files["image"])
    if copy:
        if not view.image.is_file():
            raise DataError(
                f"{view.image}: the picture is missing", "put the file back, or fix the path in the capture"
            )
        shutil.copyfile(view.image, out / str(files["image"]))
        for kind, source in (("mask", view.mask), ("depth", view.depth)):
            if source is not None:
                files[kind] = f"{'masks' if kind == 'mask' else 'depth'}/{relative.with_suffix(source.suffix)}"
                shutil.copyfile(source, _target(out, files[kind]))
        return _entry(view, view.camera, files, view.depth_scale)
    options = {"quality": 95, "subsampling": 0} if suffix == ".jpg" else {}
    Image.fromarray(capture.image(i)).save(out / str(files["image"]), **options)
    mask, depth = capture.mask(i), capture.depth(i)
    if mask is not None and not mask.all():
        files["mask"] = f"masks/{relative.with_suffix('.png')}"
        Image.fromarray(mask.astype(np.uint8) * 255).save(_target(out, files["mask"]))
    if depth is not None:
        files["depth"] = f"depth/{relative.with_suffix('.npy')}"
        np.save(_target(out, files["depth"]), depth)
    return _entry(view, capture.camera(i), files, 1.0)


def _target(out: Path, relative: str | None) -> Path:
    path = out / str(relative)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _entry(view: View, camera: Camera, files: dict[str, str | None], depth_scale: float) -> dict[str, Any]:
    distortion = camera.distortion
    return {
        "name": view.name,
        **files,
        "depth_scale": depth_scale,
        "split": view.split,
        "camera": {
            **{key: float(getattr(camera, key)) for key in ("fx", "fy", "cx", "cy")},
            "width": int(camera.width),
            "height": int(camera.height),
            "world_from_camera": [[float(x) for x in row] for row in camera.world_from_camera],
            "distortion": None
            if distortion is None
            else {"model": distortion.model, "params": [float(p) for p in distortion.params]},
        },
    }


def _replace_folder(temporary: Path, out: Path) -> None:
    """Renames `temporary` to `out`; an existing `out` steps aside and is removed when the new one is in place."""
    if not out.exists():
        os.replace(temporary, out)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.parent))
    os.replace(out, aside / "old")
    try:
        os.replace(temporary, out)
    except OSError:
        os.replace(aside / "old", out)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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


def _parse(document: Any, file: Path, max_side: int | None) -> Capture:
    top = _Fields(file, "", document)
    top.take("format", lambda v: v == "scenerep-capture", "'scenerep-capture'")
    top.take("version", lambda v: v == VERSION, f"version {VERSION} (a newer scenerep may read it)")
    top.take("conventions", _text, "text")
    source = top.take("source", _text, "text")
    ply = top.take("points", lambda v: v is None or _inside(v), "a relative path or null")
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
    mask, depth = (
        view.take(key, lambda v: v is None or _inside(v), "a relative path or null") for key in ("mask", "depth")
    )
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
