"""Pixels to a payload of `dct` and back: header, planes, and the quality knob. Byte table: docs/formats/sri.md."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from scenerep.codecs.base import TOLERANCE, Progress, psnr
from scenerep.codecs.dct import colour
from scenerep.codecs.dct.prior import Prior, trained
from scenerep.codecs.dct.settings import EFFORTS, DctSettings
from scenerep.codecs.search import Trial, log_size, search
from scenerep.errors import FormatError
from scenerep.native import native

_HEADER = struct.Struct("<BIII")
_DEEP = 4
LAMBDA = 0.13
"""Squared steps that a bit is worth."""
PIXELS_PER_BYTE = 16384
"""The encoder fills up to this, so that a small file cannot ask for much memory."""
_COARSEST, _FINEST = 512.0, 0.25  # steps of 8-bit values at quality 0 and 100
_USUAL = 40.0
_DB_PER_QUALITY, _LOG_SIZE_PER_QUALITY = 0.42, 0.08  # about, on photographs
_COPY = "get a fresh copy of the file"


@dataclass(frozen=True)
class Header:
    """width, height: Pixels. step: of the quantiser in 1/256 of a sample's unit. kind, entries: see colour."""

    width: int
    height: int
    deep: bool
    kind: int
    entries: bytes
    step: int

    @property
    def matrix(self) -> np.ndarray | None:
        return None if self.kind == colour.GREY else colour.matrix_of(self.kind, self.entries)

    @property
    def scale(self) -> int:
        """Units of a plane's samples in one of the picture's: two bits more where there is room."""
        return 1 if self.deep else 4

    @property
    def plane_steps(self) -> list[int]:
        matrix = self.matrix
        norms = [colour.ONE] * 3 if matrix is None else colour.norms_of(matrix)
        return [max(1, self.step * self.scale * colour.ONE // norm) for norm in norms]

    @property
    def channels(self) -> int:
        return 1 if self.kind == colour.GREY else 3

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) in whole blocks of 8."""
        return -(-self.height // 8) * 8, -(-self.width // 8) * 8

    def write(self) -> bytes:
        return _HEADER.pack(self.kind | _DEEP * self.deep, self.width, self.height, self.step) + self.entries


def read_header(payload: bytes, file: str, base: int) -> tuple[Header, int]:
    """(header, its length). Raises: FormatError."""
    if len(payload) < _HEADER.size:
        raise FormatError(file, f"a dct header of {_HEADER.size} bytes", str(len(payload)), base, _COPY)
    flags, width, height, step = _HEADER.unpack_from(payload)
    kind, length = flags & 3, _HEADER.size
    if flags & ~7:
        raise FormatError(file, "unused bits to be zero", f"{flags:#x}", base)
    entries = b""
    if kind == colour.OWN:
        entries = bytes(payload[length : length + 9])
        length += 9
        if len(entries) < 9 or not all(colour.norms_of(colour.matrix_of(kind, entries))):
            raise FormatError(file, "a colour matrix", entries.hex(), base + _HEADER.size, _COPY)
    if not (width and height and width * height <= PIXELS_PER_BYTE * len(payload)):
        raise FormatError(file, f"a picture that fits into {len(payload)} bytes", f"{width} x {height}", base + 1)
    if not 1 <= step < 1 << 26:
        raise FormatError(file, "a step of the quantiser", str(step), base + 9)
    return Header(width, height, bool(flags & _DEEP), kind, entries, step), length


def step_of(quality: float, deep: bool) -> int:
    """The step in 1/256 for a quality of 0 to 100: equal distances of quality are equal ratios of steps."""
    step = _COARSEST * (_FINEST / _COARSEST) ** (quality / 100)
    return max(1, round(step * 256 * (257 if deep else 1)))


def encode(pixels: np.ndarray, settings: DctSettings, progress: Progress | None = None) -> bytes:
    """A payload, uint8 or uint16 [h, w, 1 or 3]; see DctSettings."""
    planner = Planner(pixels, settings)
    attempts = 0

    def attempt(quality: float) -> Trial:
        nonlocal attempts
        attempts += 1
        payload, decoded = planner.encode(quality)
        if progress:
            progress("encoding", attempts, attempts + 1)
        return Trial(quality, payload, log_size(payload) if by_size else psnr(pixels, decoded))

    by_size = settings.psnr is None
    if settings.psnr is not None:
        trial = search(attempt, settings.psnr, 0, 100, 0.02, _DB_PER_QUALITY)
    elif settings.size is not None:
        trial = search(attempt, math.log(max(1, settings.size)), 0, 100, TOLERANCE / 4, _LOG_SIZE_PER_QUALITY)
    elif settings.lam is not None:
        # J = MSE + lam bpp with values 0 to 1; a bit is worth LAMBDA step^2 of the sum over all channels.
        step = 255 * math.sqrt(settings.lam * pixels.shape[2] / LAMBDA)
        quality = 100 * math.log(step / _COARSEST) / math.log(_FINEST / _COARSEST)
        trial = attempt(min(max(quality, 0.0), 100.0))
    else:
        trial = attempt(_USUAL if settings.quality is None else settings.quality)
    if progress:
        progress("encoding", attempts, attempts)
    return trial.payload


def decode(payload: bytes, *, file: str, base: int, level: int = 0) -> np.ndarray:
    """The pixels. A payload that was cut off gives the upper part; the rest is grey.

    Raises:
        FormatError: The header is broken.
    """
    from scenerep.codecs.files import shrink

    header, length = read_header(payload, file, base)
    prior = trained()
    height, width = header.padded
    planes, _, _ = native().dct_decode(
        payload[length:],
        width,
        height,
        header.channels,
        prior.profiles,
        header.plane_steps,
        header.deep,
        *prior.models,
    )
    planes = planes[:, : header.height, : header.width]
    most = 65535 if header.deep else 255
    return shrink(colour.to_pixels(planes, header.matrix, header.scale, most), level)


class Planner:
    """A picture made ready, to be coded at several qualities."""

    def __init__(self, pixels: np.ndarray, settings: DctSettings, prior: Prior | None = None) -> None:
        self.pixels = pixels
        self.prior = prior or trained()
        self.effort = EFFORTS[settings.preset]
        self.deep = pixels.dtype == np.uint16
        self.kind, self.entries = (colour.GREY, b"") if pixels.shape[2] == 1 else colour.choose(pixels)
        header = self.header(1)
        height, width = header.padded
        pad = ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0))
        self.planes = colour.to_planes(np.pad(pixels, pad, mode="edge"), header.matrix, header.scale)

    def header(self, step: int) -> Header:
        height, width = self.pixels.shape[:2]
        return Header(width, height, self.deep, self.kind, self.entries, step)

    def code(self, header: Header) -> tuple[bytes, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(stream, samples int32 [c, h, w], the models after it)."""
        lambdas = [LAMBDA * (step / 256) ** 2 for step in header.plane_steps]
        return native().dct_encode(
            self.planes,
            self.prior.profiles,
            header.plane_steps,
            lambdas,
            self.effort,
            self.deep,
            *self.prior.models,
        )

    def encode(self, quality: float) -> tuple[bytes, np.ndarray]:
        """(payload, decoded pixels)."""
        header = self.header(step_of(quality, self.deep))
        stream, samples, _ = self.code(header)
        payload = header.write() + stream
        payload += bytes(max(0, -(-header.width * header.height // PIXELS_PER_BYTE) - len(payload)))
        samples = samples[:, : header.height, : header.width]
        most = 65535 if self.deep else 255
        return payload, colour.to_pixels(samples, header.matrix, header.scale, most)
