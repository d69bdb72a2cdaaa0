"""Photographs made ready for feature extraction: read once, upright, not larger than needed; bad files are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from scenerep.captures.pictures import load_mask, load_picture
from scenerep.captures.resample import fit
from scenerep.cpus import usable_cpus
from scenerep.data_tools.sfm import SfmPicture
from scenerep.errors import DataError

Progress = Callable[[str, int, int], None]
CameraSharing = Literal["auto", "single", "each"]

_EXIF, _GPS = 0x8769, 0x8825
_MAKE, _MODEL, _FOCAL, _FOCAL_35MM = 0x010F, 0x0110, 0x920A, 0xA405


@dataclass(frozen=True)
class Prepared:
    """A photograph and its copy for COLMAP. `width` and `height` are the photograph's, upright."""

    name: str
    source: Path
    width: int
    height: int
    mask: Path | None
    picture: SfmPicture


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts img2 before img10."""
    parts = re.findall(r"\d+|\D+", path.as_posix())
    return [(0, int(part), part) if part.isdigit() else (1, 0, part.lower()) for part in parts]


def prepare(
    files: Sequence[Path],
    root: Path,
    work: Path,
    *,
    side: int,
    masks: Path | None = None,
    camera: CameraSharing = "auto",
    progress: Progress | None = None,
) -> tuple[list[Prepared], dict[str, str]]:
    """Reads photographs and writes what COLMAP needs.

    Args:
        files: Below `root`; their names are relative to it.
        root: The folder of the photographs.
        work: An existing folder; `pictures/` and `masks/` appear in it.
        side: Longest side of the copies in pixels; pictures are never enlarged.
        masks: Folder with a mask per picture (NAME.png, NAME or STEM.png), black = ignore; None: no masks.
        camera: `auto` shares a camera among pictures of one size whose EXIF names the same camera, lens and focal
            length; `single` among all of one size; `each`: none share.
        progress: Called as progress("pictures", done, total).

    Returns:
        The readable ones in the order given, and the reason for each of the others, by name.
    """
    (work / "pictures").mkdir(exist_ok=True)
    (work / "masks").mkdir(exist_ok=True)
    prepared: list[Prepared] = []
    skipped: dict[str, str] = {}

    def one(i: int) -> Prepared | str:
        try:
            return _prepare_one(i, files[i], root, work, side, masks, camera)
        except DataError as error:
            return error.message

    with ThreadPoolExecutor(usable_cpus()) as pool:
        for i, result in enumerate(pool.map(one, range(len(files)))):
            if isinstance(result, str):
                skipped[_name(files[i], root)] = result
            else:
                prepared.append(result)
            if progress:
                progress("pictures", i + 1, len(files))
    return prepared, skipped


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _prepare_one(
    i: int, path: Path, root: Path, work: Path, side: int, masks: Path | None, camera: CameraSharing
) -> Prepared:
    name = _name(path, root)
    pixels = load_picture(path)
    height, width = pixels.shape[:2]
    size = fit(width, height, side)
    exif = _read_exif(path)
    mask_file = _find_mask(masks, name) if masks else None
    mask = load_mask(mask_file, size) if mask_file else None
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 128:
        alpha = np.asarray(Image.fromarray(pixels[..., 3]).resize(size, Image.Resampling.BOX)) > 127
        mask = alpha if mask is None else mask & alpha
    copy = path.absolute()
    if (width, height) != size or exif.turned or path.suffix.lower() not in (".jpg", ".jpeg") or pixels.shape[2] == 4:
        # PNG, so that the features do not see a second JPEG compression; level 1 is quick and the file is temporary.
        copy = work / "pictures" / f"{i:06d}.png"
        image = Image.fromarray(pixels[..., :3]).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        image.save(copy, compress_level=1)
    mask_copy = None
    if mask is not None:
        mask_copy = work / "masks" / f"{i:06d}.png"
        Image.fromarray(mask.astype(np.uint8) * 255).save(mask_copy, compress_level=1)
    lens = f"{width}x{height}"
    if camera == "auto":
        lens += f" {exif.lens}"
    elif camera == "each":
        lens += f" {i}"
    focal = None if exif.focal_share is None else exif.focal_share * max(size)
    picture = SfmPicture(copy, *size, lens=lens, focal_px=focal, mask=mask_copy, gps=exif.gps)
    return Prepared(name, path, width, height, mask_file, picture)


def _find_mask(folder: Path, name: str) -> Path | None:
    for candidate in (f"{name}.png", name, Path(name).with_suffix(".png").as_posix()):
        if (folder / candidate).is_file():
            return folder / candidate
    return None


@dataclass(frozen=True)
class _Exif:
    lens: str = ""
    focal_share: float | None = None  # focal length as a share of the longer side
    gps: tuple[float, float] | None = None
    turned: bool = False


def _read_exif(path: Path) -> _Exif:
    """What EXIF says; damaged EXIF in a good picture counts as none."""
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            details = exif.get_ifd(_EXIF)
            gps = _degrees(exif.get_ifd(_GPS))
            turned = exif.get(0x0112, 1) not in (0, 1)
            lens = " ".join(str(v) for v in (exif.get(_MAKE), exif.get(_MODEL), details.get(_FOCAL)) if v)
            equivalent = float(details.get(_FOCAL_35MM) or 0)
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, ZeroDivisionError):
        return _Exif()
    # 36 mm is the longer side of the film. The standard means the ratio of diagonals; for 4:3 that differs by 4 %.
    share = equivalent / 36.0 if equivalent > 0 else _colmap_focal(path)
    return _Exif(lens, share, gps, turned)


def _colmap_focal(path: Path) -> float | None:
    """COLMAP knows the sensor sizes of many cameras, which turns millimetres into pixels."""
    import pycolmap

    try:
        camera = pycolmap.infer_camera_from_image(str(path))
    except (ValueError, RuntimeError):  # formats that its own reader cannot open
        return None
    return camera.focal_length / max(camera.width, camera.height) if camera.has_prior_focal_length else None


def _degrees(gps: dict) -> tuple[float, float] | None:
    """(latitude, longitude) from a GPS directory: degrees, minutes, seconds and N/S, E/W."""
    try:
        angles = [sum(float(part) / 60**k for k, part in enumerate(gps[tag])) for tag in (2, 4)]
        latitude = -angles[0] if str(gps.get(1, "N")).upper().startswith("S") else angles[0]
        longitude = -angles[1] if str(gps.get(3, "E")).upper().startswith("W") else angles[1]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    known = np.isfinite([latitude, longitude]).all() and abs(latitude) <= 90 and abs(longitude) <= 180
    return (latitude, longitude) if known and (latitude, longitude) != (0.0, 0.0) else None
