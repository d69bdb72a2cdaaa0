"""What the readers share: strict JSON, poses, and putting a capture together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scenerep.captures import Capture, Points, View, split_every
from scenerep.data_tools.images import fit_camera
from scenerep.errors import DataError, FormatError
from scenerep.geometry.poses import is_rotation, nearest_rotation, pose


def load_json(file: Path) -> Any:
    """The JSON of a file.

    Raises:
        FormatError: it is not JSON in UTF-8; names the byte.
    """
    try:
        return json.loads(file.read_bytes())
    except json.JSONDecodeError as error:
        raise FormatError(file, "JSON", error.msg, error.pos) from error
    except UnicodeDecodeError as error:
        raise FormatError(file, "UTF-8 text", "other bytes", error.start) from error
    except RecursionError as error:
        raise FormatError(file, "JSON", "brackets nested too deep") from error


def number(file: Path, values: dict, key: str, default: float | None = None, *, place: str = "") -> float:
    """The finite number `values[key]`, or the default where there is none.

    Raises:
        FormatError: it is missing without a default, or not a finite number.
    """
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise FormatError(file, f"a number {key!r}{place and ' in ' + place}", repr(value))
    return float(value)


def rigid(file: Path, matrix: Any, place: str) -> np.ndarray:
    """A pose [4, 4] float64 from a stored 3x4 or 4x4 matrix; its rotation is made exact.

    Raises:
        FormatError: it has another shape, is not finite, or is not a rotation within 0.01.
    """
    try:
        values = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape not in ((3, 4), (4, 4)) or not np.all(np.abs(values) < 1e30):
        raise FormatError(file, f"a pose of 3x4 or 4x4 numbers in {place}", f"shape {values.shape}")
    if not is_rotation(values[:3, :3], tolerance=0.01):
        raise FormatError(file, f"a rotation in {place}", np.array2string(values[:3, :3], precision=4))
    return pose(nearest_rotation(values[:3, :3]), values[:3, 3])


def shorten(names: Sequence[str], limit: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def assemble(
    root: Path,
    source: str,
    views: Sequence[View],
    *,
    points: Points | None = None,
    test_every: int = 8,
    states_split: bool = False,
    warnings: Sequence[str] = (),
) -> Capture:
    """A capture of views that a source lists: files that are missing are left out with a warning, cameras get the size
    of their pictures, views are sorted by name and split (unless the source states a split).

    Raises:
        DataError: no picture is there, or a picture does not have the shape of its camera.
    """
    notes = list(warnings)
    there = sorted((view for view in views if view.image.is_file()), key=lambda view: view.name)
    missing = sorted(view.name for view in views if not view.image.is_file())
    if not there:
        raise DataError(
            f"{root}: none of the {len(views)} pictures of the capture is there (first: {shorten(missing, 3)})",
            "put the pictures where the capture names them",
        )
    if missing:
        notes.append(f"{len(missing)} of {len(views)} pictures have no file and were left out: {shorten(missing)}")
    fitted = [replace(view, camera=fit_camera(view.camera, view.image)) for view in there]
    resized = [old.name for old, new in zip(there, fitted) if new.camera is not old.camera]
    if resized:
        notes.append(f"{len(resized)} pictures are smaller or larger than their cameras state; the cameras were scaled")
    if not states_split:
        splits = split_every([view.name for view in fitted], test_every)
        fitted = [replace(view, split=split) for view, split in zip(fitted, splits)]
    return Capture(root, source, fitted, points, warnings=notes)
