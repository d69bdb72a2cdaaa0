"""Writing a capture as a folder of capture.json, points.ply, images/, masks/ and depth/ (see docs/captures.md)."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from scenerep.captures.capture import Capture, View
from scenerep.captures.points import points_to_ply
from scenerep.captures.resample import fit
from scenerep.errors import DataError
from scenerep.geometry.cameras import Camera

FILE = "capture.json"
VERSION = 1
_CONVENTIONS = "OpenCV camera axes (x right, y down, z forward), world_from_camera row by row, pixel centres at +0.5"

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
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if suffix == ".jpg" else {}
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
        temporary.replace(out)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.parent))
    out.replace(aside / "old")
    try:
        temporary.replace(out)
    except OSError:
        (aside / "old").replace(out)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
