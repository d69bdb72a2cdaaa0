"""Pixels to the bytes of an `.sri` file, and back, by any codec."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np

from scenerep.codecs.alpha import decode_alpha, encode_alpha
from scenerep.codecs.base import Goal, Preset, Progress
from scenerep.codecs.container import MAX_PIXELS, MAX_SIDE, Head, read_container, write_container
from scenerep.errors import ConfigError, DataError, FormatError
from scenerep.image_codecs import DEFAULT, codec_named


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A decoded file.

    pixels: uint8 or uint16 [h, w, c], c = 1, 3, or one more with alpha (straight).
    complete: False if the file was cut off or a preview was asked for; the pixels' checksum holds otherwise.
    """

    pixels: np.ndarray
    head: Head
    complete: bool


def encode(
    pixels: np.ndarray,
    *,
    codec: str = DEFAULT,
    preset: Preset = "medium",
    bits_per_pixel: float | None = None,
    psnr: float | None = None,
    size: int | None = None,
    lam: float | None = None,
    icc: bytes | None = None,
    exif: bytes | None = None,
    metadata: dict[str, Any] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> bytes:
    """A picture as the bytes of an `.sri` file.

    Args:
        pixels: uint8 or uint16 [h, w] or [h, w, c], c = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).
        codec: One of CODECS.
        preset: How long to search.
        bits_per_pixel, psnr, size, lam: The goal, see Goal; sizes are those of the whole file.
        icc, exif, metadata: Kept in the file.
        progress: Called with (stage, done, total).
        settings: The codec's own.

    Raises:
        DataError: The array is no picture. ConfigError: The goal or a setting is amiss.
    """
    entry = codec_named(codec)
    goal = Goal(bits_per_pixel, psnr, size, lam)
    colours, alpha = _split(pixels)
    height, width, channels = colours.shape
    head = Head(
        codec, width, height, channels, colours.dtype.itemsize * 8, alpha is not None, 0, metadata or {}, icc, exif
    )
    coded_alpha = None if alpha is None else encode_alpha(alpha)
    if goal.bits_per_pixel is not None:
        goal = Goal(size=max(1, round(goal.bits_per_pixel * width * height / 8)))
    asked = {"psnr": goal.psnr, "lam": goal.lam}
    if goal.size is not None:
        asked["size"] = max(1, goal.size - len(write_container(head, b"", coded_alpha)))
    module = entry.load()
    known = {field.name for field in dataclasses.fields(getattr(module, entry.settings))}
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ConfigError(f"codec {codec} has no setting {unknown[0]!r}", f"it has: {', '.join(sorted(known))}")
    asked = {name: value for name, value in asked.items() if value is not None}
    chosen = getattr(module, entry.settings)(preset=preset, **asked, **settings)
    payload = module.encode(colours, chosen, progress)
    decoded = module.decode(payload, file="<encoded>", base=0)
    return write_container(dataclasses.replace(head, checksum=checksum(decoded)), payload, coded_alpha)


def decode(data: bytes, *, level: int = 0, partial: bool = False, file: str = "<sri>") -> np.ndarray:
    """The pixels of a file, [h, w, c]; see decode_file."""
    return decode_file(data, level=level, partial=partial, file=file).pixels


def decode_file(data: bytes, *, level: int = 0, partial: bool = False, file: str = "<sri>") -> Decoded:
    """Decodes a file.

    Args:
        data: The bytes.
        level: k gives a preview with sides of 1/2^k, rounded up.
        partial: Take a file that was cut off, and give what can be had of its picture.
        file: Its name, for messages.

    Raises:
        FormatError: The bytes are no such file, are cut off or broken. ConfigError: There is no such level or codec.
    """
    if not 0 <= level <= 16:
        raise ConfigError(f"there is no preview level {level}", "use 0 (the picture itself) to 16")
    parts = read_container(data, file)
    head = parts.head
    if not parts.complete and not partial:
        raise FormatError(
            file, "the whole picture", f"{len(parts.payload)} bytes of it", len(data), "use --partial for a preview"
        )
    module = codec_named(head.codec).load()
    pixels = module.decode(parts.payload, file=file, base=parts.offset, level=level)
    whole = parts.complete and level == 0
    shape = (-(-head.height >> level), -(-head.width >> level), head.channels)
    if whole and (pixels.shape != shape or pixels.dtype.itemsize * 8 != head.depth):
        raise FormatError(file, f"a picture of {shape}", f"{pixels.shape} {pixels.dtype}", parts.offset)
    if whole and checksum(pixels) != head.checksum:
        raise FormatError(file, "pixels with the right checksum", "others", 16, "report this: decoders must agree")
    if parts.alpha is not None:
        alpha = decode_alpha(parts.alpha, head.height, head.width, head.depth, file, 0)
        alpha = shrink(alpha[..., None], level)
        if alpha.shape[:2] != pixels.shape[:2]:
            raise FormatError(file, f"alpha of {pixels.shape[:2]}", str(alpha.shape[:2]), 0)
        pixels = np.concatenate([pixels, alpha.astype(pixels.dtype)], axis=2)
    return Decoded(pixels, head, whole)


def checksum(pixels: np.ndarray) -> int:
    """CRC-32 of pixels, 16-bit ones little-endian."""
    plain = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return zlib.crc32(plain.data)


def shrink(pixels: np.ndarray, level: int) -> np.ndarray:
    """Means over squares of 2^level; the last ones repeat the border. [h, w, c] -> [ceil(h / 2^level), ...]."""
    if level == 0:
        return pixels
    step = 1 << level
    height, width, channels = pixels.shape
    pad = ((0, -height % step), (0, -width % step), (0, 0))
    padded = np.pad(pixels, pad, mode="edge").reshape(-(-height // step), step, -(-width // step), step, channels)
    return ((padded.sum(axis=(1, 3), dtype=np.int64) + step * step // 2) // (step * step)).astype(pixels.dtype)


def _split(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(colours [h, w, 1 or 3], alpha [h, w] or None)."""
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"pixels of type {pixels.dtype} cannot be coded", "use uint8 or uint16")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or pixels.size == 0:
        raise DataError(f"an array of shape {pixels.shape} is no picture", "use [h, w] or [h, w, 1 to 4], not empty")
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise DataError(f"{width} x {height} pixels are too many", f"use up to {MAX_PIXELS}")
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.shape[2] in (2, 4):
        return np.ascontiguousarray(pixels[..., :-1]), np.ascontiguousarray(pixels[..., -1])
    return np.ascontiguousarray(pixels), None
