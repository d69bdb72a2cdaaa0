"""Pictures on disk as they are stored: 8 and 16 bits, grey, colour, alpha, ICC profile and EXIF.

Unlike captures/pictures.py nothing is turned upright or cut to 8 bits: a codec must give back what it was given.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from scenerep.errors import ConfigError, DataError
from scenerep.io.files import replacing

READABLE = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff")
_DEEP = (".png", ".tif", ".tiff")
_LOSSY_QUALITY = 95


@dataclass(frozen=True)
class Stored:
    """pixels: uint8 or uint16 [h, w, c], c = 1 (grey), 2 (grey, alpha), 3 (RGB), 4 (RGB, alpha)."""

    pixels: np.ndarray
    icc: bytes | None = None
    exif: bytes | None = None


def read_picture(path: Path) -> Stored:
    """Raises: DataError if the file is missing, broken or no picture."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        deep = _deep_colour(path) if _is_deep_colour(path) else None
        if deep is not None and path.suffix.lower() != ".png":
            return Stored(deep)  # Pillow does not open such a TIFF, so its profile is lost
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            icc, exif = image.info.get("icc_profile") or None, image.info.get("exif") or None
            if deep is not None:
                return Stored(deep, icc, exif)
            image.load()
            return Stored(_pixels(image), icc, exif)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read: {error}", "replace the file, or leave it out") from error


def write_picture(path: Path, picture: Stored, *, overwrite: bool = False) -> None:
    """Writes by the file's ending; lossy formats at quality 95.

    Raises:
        ConfigError: The ending is not known. DataError: The format has no 16-bit pictures, or the disk refuses.
    """
    ending = path.suffix.lower()
    pixels = picture.pixels
    if ending not in WRITABLE:
        raise ConfigError(
            f"pictures cannot be written as {ending or 'a file without ending'}", f"use {', '.join(WRITABLE)}"
        )
    deep = pixels.dtype == np.uint16
    if deep and ending not in _DEEP:
        raise DataError(f"{path}: {ending} has no 16-bit pictures here", f"use {', '.join(_DEEP)}")
    if deep and pixels.shape[2] == 2:
        raise DataError(f"{path}: 16-bit grey pictures with alpha cannot be written", "use RGB with alpha")
    with replacing(path, overwrite=overwrite) as temporary:
        if deep and pixels.shape[2] > 1:
            temporary.write_bytes(_deep_bytes(pixels, "png" if ending == ".png" else "tiff"))
            return
        extra: dict[str, Any] = {
            key: value for key, value in (("icc_profile", picture.icc), ("exif", picture.exif)) if value
        }
        if ending in (".jpg", ".jpeg", ".webp", ".avif"):
            extra["quality"] = _LOSSY_QUALITY
        if ending in (".jpg", ".jpeg"):
            pixels = pixels[..., : 1 if pixels.shape[2] < 3 else 3]  # JPEG has no alpha
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(temporary, **extra)


def _deep_bytes(pixels: np.ndarray, kind: str) -> bytes:
    """A PNG or TIFF with 16 bits of colour, which Pillow cannot write."""
    name = "rgb48" if pixels.shape[2] == 3 else "rgba64"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels, "<u2"), format=f"{name}le")
    if kind == "png":
        frame = frame.reformat(format=f"{name}be")
    context = av.CodecContext.create(kind, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
    context.time_base = Fraction(1, 1)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"pixels of mode {image.mode} beyond 16 bits")
        return values.astype(np.uint16)[..., None]
    alpha = "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa")
    grey = image.mode in ("1", "L", "LA", "La")
    values = np.asarray(image.convert(("LA" if alpha else "L") if grey else "RGBA" if alpha else "RGB"))
    return np.ascontiguousarray(values if values.ndim == 3 else values[..., None])


def _is_deep_colour(path: Path) -> bool:
    """Whether this is a PNG or TIFF with 16 bits and colour, which Pillow cuts to 8 or refuses."""
    with path.open("rb") as file:
        start = file.read(26)
    if start[:4] in (b"II*\0", b"MM\0*"):
        return _frame(path).format.name.startswith(("rgb48", "rgba64"))
    return start[:8] == b"\x89PNG\r\n\x1a\n" and len(start) == 26 and start[24] == 16 and start[25] in (2, 6)


def _frame(path: Path) -> av.VideoFrame:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


def _deep_colour(path: Path) -> np.ndarray:
    frame = _frame(path)
    name = "rgba64le" if frame.format.name.startswith("rgba") else "rgb48le"
    return np.ascontiguousarray(frame.to_ndarray(format=name)).astype(np.uint16)
