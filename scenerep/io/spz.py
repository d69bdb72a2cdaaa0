"""SPZ (Niantic): fixed-point numbers in gzip (versions 1 to 3) or in one zstd stream per attribute (version 4).

Byte table: docs/formats/README.md. All versions are read, 3 and 4 are written. n = Gaussians.
The file's axes are RUB by the format's README; see axes.py. Gaussians keep their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scenerep.errors import SceneRepError
from scenerep.io.axes import AXES, OURS, convert_axes, flip_axes
from scenerep.io.packing import from_smallest_three, logits_from_bytes, opacity, smallest_three, to_bytes
from scenerep.io.repair import finite_scene
from scenerep.io.spz_container import MAGIC, Packed, pack_gzip, pack_streams, unpack
from scenerep.scenes import Gaussians

_COLOUR_SCALE = 0.15  # colour byte = 255 (0.15 f_dc + 0.5): leaves room for colours that higher bands bring back
_ANTIALIASED = 1
_FRACTIONAL_BITS = 12
_MOST_FRACTIONAL_BITS = 20
_LARGEST_FIXED = (1 << 23) - 1


@dataclass(frozen=True)
class SpzOptions:
    """How a scene is written."""

    version: Literal[3, 4] = 4
    """3: gzip, which more tools read; 4: zstd, smaller and quicker."""
    sh1_bits: int = 5
    """Bits of the SH coefficients of degree 1, 1 to 8."""
    rest_bits: int = 4
    """Bits of the coefficients of higher degrees, 1 to 8."""
    fractional_bits: int | None = None
    """Positions are multiples of 2^-b. None: 12, as the format's own library does; more where the Gaussians are small
    against such a step, fewer where the scene would not fit into 24 bits."""


def write(scene: Gaussians, options: SpzOptions | None = None) -> bytes:
    """The scene as SPZ.

    Lost: log scales are rounded to 1/16 within -10 to 5.9, opacities and colours to bytes, SH coefficients are clipped
    to +-1 and rounded, rotations to 1/511 of their range.

    Raises:
        SceneRepError: if a position does not fit into the fixed-point range that the options ask for.
    """
    options = options or SpzOptions()
    scene = convert_axes(scene, OURS, AXES["spz"])
    bits = _choose_bits(scene) if options.fractional_bits is None else options.fractional_bits
    fixed = np.floor(scene.means.astype(np.float64) * 2.0**bits + 0.5)
    if len(scene) and np.abs(fixed).max() > _LARGEST_FIXED:
        largest = float(np.abs(scene.means).max())
        raise SceneRepError(
            f"SPZ with {bits} fractional bits holds positions up to {2.0 ** (23 - bits):g}, the scene has {largest:g}",
            "scale the scene down, remove what lies far outside, or choose another format",
        )
    n, k = len(scene), scene.sh.shape[1]
    words = fixed.astype(np.int32).astype("<i4").view(np.uint8).reshape(n, 3, 4)
    streams = (
        words[:, :, :3].tobytes(),
        to_bytes(opacity(scene.opacity_logits) * 255).tobytes(),
        to_bytes(scene.sh[:, 0] * (_COLOUR_SCALE * 255) + 127.5).tobytes(),
        to_bytes((scene.log_scales + 10) * 16).tobytes(),
        _pack_rotations(scene.quats).tobytes(),
        _pack_sh(scene.sh[:, 1:], options).tobytes(),
    )
    degree = int(np.sqrt(k)) - 1
    packed = Packed(options.version, n, degree, bits, _ANTIALIASED if scene.antialiased else 0, streams)
    return pack_streams(packed) if options.version == 4 else pack_gzip(packed)


def read(data: bytes, file: str = "<spz>") -> Gaussians:
    """A scene from SPZ of any version, gzip, bare or zstd.

    Metadata of the result: `spz_version`; `dropped_sh_degree` 4 where the file has a degree more than we hold.

    Raises:
        FormatError: if the bytes are no SPZ.
    """
    packed = unpack(data, file)
    n, count = packed.count, (packed.sh_degree + 1) ** 2 - 1
    positions, alphas, colours, scales, rotations, rest = packed.streams
    sh = np.empty((n, min(count, 15) + 1, 3), np.float32)
    sh[:, 0] = ((np.arange(256, dtype=np.float32) / 255 - 0.5) / _COLOUR_SCALE)[_rows(colours, 3)]
    # Arithmetic on uint8 straight into place; a lookup table would need an index of 8 bytes for each coefficient.
    np.subtract(np.frombuffer(rest, np.uint8).reshape(n, count, 3)[:, :15], 128, out=sh[:, 1:], dtype=np.float32)
    sh[:, 1:] *= np.float32(1 / 128)
    if packed.version == 1:
        means = np.frombuffer(positions, "<f2").astype(np.float32).reshape(n, 3)
    else:
        means = _fixed_point(positions, n) * np.float32(2.0**-packed.fractional_bits)
    arrays = {
        "means": means,
        "log_scales": (np.arange(256, dtype=np.float32) / 16 - 10)[_rows(scales, 3)],
        "quats": _unpack_rotations(rotations) if packed.version >= 3 else _unpack_first_three(_rows(rotations, 3)),
        "opacity_logits": logits_from_bytes(np.frombuffer(alphas, np.uint8)),
        "sh": sh,
    }
    metadata: dict[str, object] = {"spz_version": packed.version}
    if packed.sh_degree > 3:
        metadata["dropped_sh_degree"] = packed.sh_degree
    flip_axes(arrays, AXES["spz"], OURS)
    return finite_scene(arrays, metadata, bool(packed.flags & _ANTIALIASED))


def looks_like(data: bytes) -> bool:
    """Whether the bytes start as an SPZ of any version does: bare, or a gzip file (nothing else we read is one)."""
    return data.startswith((MAGIC, b"\x1f\x8b"))


def _choose_bits(scene: Gaussians) -> int:
    if len(scene) == 0:
        return _FRACTIONAL_BITS
    # A step of half the median standard deviation: the rounding error is then a seventh of it (1 / (2 sqrt 12)).
    step = 0.5 * float(np.exp(np.median(scene.log_scales)))
    wanted = int(np.clip(np.ceil(-np.log2(max(step, 1e-9))), _FRACTIONAL_BITS, _MOST_FRACTIONAL_BITS))
    room = int(np.floor(np.log2(_LARGEST_FIXED / max(float(np.abs(scene.means).max()), 1e-9))))
    return max(0, min(wanted, room))


def _pack_rotations(quats: np.ndarray) -> np.ndarray:
    """<u4 [n]: 2 bits for the largest component (x, y, z, w), then a sign and 9 bits for each of the others."""
    largest, others = smallest_three(quats[:, [1, 2, 3, 0]])
    magnitude = np.minimum(np.abs(others) * (511 * np.sqrt(2)) + 0.5, 511).astype(np.uint32)
    parts = magnitude | (others < 0).astype(np.uint32) << 9
    words = largest.astype(np.uint32) << 30 | parts[:, 0] << 20 | parts[:, 1] << 10 | parts[:, 2]
    return words.astype("<u4")


def _unpack_rotations(data: bytes) -> np.ndarray:
    words = np.frombuffer(data, "<u4")
    parts = words[:, None] >> np.array([20, 10, 0], np.uint32) & 1023
    signed = (parts & 511).astype(np.float32) * (1 - 2 * (parts >> 9).astype(np.float32))
    return from_smallest_three(words >> 30, signed * np.float32(np.sqrt(0.5) / 511))[:, [3, 0, 1, 2]]


def _unpack_first_three(xyz: np.ndarray) -> np.ndarray:
    """Versions 1 and 2: x, y, z in bytes; w is what is left, never negative."""
    vector = xyz.astype(np.float32) / 127.5 - 1
    w = np.sqrt(np.maximum(0, 1 - np.einsum("ni,ni->n", vector, vector)))
    return np.concatenate([w[:, None], vector], axis=1)


def _pack_sh(rest: np.ndarray, options: SpzOptions) -> np.ndarray:
    """uint8 [n, k - 1, 3]: multiples of 2^(8 - bits) around 128, so that zero stays zero."""
    if not (1 <= options.sh1_bits <= 8 and 1 <= options.rest_bits <= 8):
        raise SceneRepError("SPZ stores SH coefficients in 1 to 8 bits", "the usual numbers are 5 and 4")
    step = np.full((rest.shape[1], 1), 1 << (8 - options.rest_bits), np.int32)
    step[:3] = 1 << (8 - options.sh1_bits)
    steps = np.floor(np.clip(rest, -2, 2) * 128 + 128.5).astype(np.int32)
    return np.clip((steps + step // 2) // step * step, 0, 255).astype(np.uint8)


def _fixed_point(data: bytes, n: int) -> np.ndarray:
    """float32 [n, 3] of 24-bit little-endian integers."""
    raw = np.frombuffer(data, np.uint8).reshape(3 * n, 3)
    words = np.zeros((3 * n, 4), np.uint8)
    words[:, 1:] = raw  # into the upper bytes, so that the shift below brings the sign along
    return (words.view("<i4")[:, 0] >> 8).astype(np.float32).reshape(n, 3)


def _rows(data: bytes, width: int) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(-1, width)
