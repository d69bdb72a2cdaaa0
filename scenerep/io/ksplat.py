"""`.ksplat` 0.1 (mkkellogg): sections of buckets of Gaussians, at one of three precisions. Read only.

Byte table: docs/formats/README.md. The file has no mark; a version of 0.1 and sections that fill it exactly serve as
one. b = buckets of a section, n = its Gaussians.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from scenerep.errors import FormatError
from scenerep.io.bounds import require_bytes
from scenerep.io.packing import dc_from_bytes, logits_from_bytes
from scenerep.io.repair import finite_scene
from scenerep.scenes import Gaussians

_HEADER, _SECTION = 4096, 1024
_MAX_SECTIONS = 1 << 16  # real files have one to a few
_COEFFICIENTS = (0, 3, 8, 15)  # higher SH coefficients of a channel, for degrees 0 to 3
_RANGE = 32767  # of the fixed-point positions, where the section names none
_DEFAULT_SH = (-1.5, 1.5)


@dataclass(frozen=True)
class _Section:
    """count: Gaussians that are there; capacity: Gaussians that there is room for; start: byte of its buckets."""

    count: int
    capacity: int
    bucket_capacity: int
    buckets: int
    block_size: float
    bucket_bytes: int
    scale_range: int
    full_buckets: int
    partial_buckets: int
    degree: int
    start: int

    @property
    def rows(self) -> int:
        """Byte of the first row."""
        return self.start + 4 * self.partial_buckets + self.bucket_bytes * self.buckets


def looks_like(data: bytes) -> bool:
    """Whether bytes without any mark of their own can be a .ksplat: version 0.1, a level and counts that fit."""
    if len(data) < _HEADER or data[:2] != b"\x00\x01":
        return False
    sections, count, level = struct.unpack_from("<I8xIH", data, 4)
    return 0 < sections <= _MAX_SECTIONS and level <= 2 and _HEADER + sections * _SECTION <= len(data) and count > 0


def read(data: bytes, file: str = "<ksplat>") -> Gaussians:
    """A scene from a .ksplat of version 0.1, compression levels 0 to 2.

    Raises:
        FormatError: if the bytes are none.
    """
    require_bytes(data, 0, _HEADER, "the header", file)
    if data[:2] != b"\x00\x01":
        raise FormatError(file, ".ksplat version 0.1", f"{data[0]}.{data[1]}", 0)
    section_count, total, level = struct.unpack_from("<I8xIH", data, 4)
    if level > 2:
        raise FormatError(file, "compression level 0, 1 or 2", str(level), 20)
    if section_count > _MAX_SECTIONS:
        raise FormatError(file, f"at most {_MAX_SECTIONS} sections", str(section_count), 4)
    require_bytes(data, _HEADER, section_count * _SECTION, f"{section_count} section headers", file)
    sh_range = tuple(value or default for value, default in zip(struct.unpack_from("<2f", data, 36), _DEFAULT_SH))
    sections, start = [], _HEADER + section_count * _SECTION
    for i in range(section_count):
        section = _section(data, _HEADER + i * _SECTION, start, file)
        sections.append(section)
        start = section.rows + section.capacity * _row_type(level, section.degree).itemsize
        require_bytes(data, section.rows, start - section.rows, f"the rows of section {i}", file)
    if sum(section.count for section in sections) != total:
        found = f"{sum(section.count for section in sections)} in the sections"
        raise FormatError(file, f"{total} Gaussians", found, 16)
    degree = max((section.degree for section in sections if section.count), default=0)
    parts = [_decode(data, section, level, degree, sh_range, file) for section in sections if section.count]
    shapes = {"means": (3,), "log_scales": (3,), "quats": (4,), "opacity_logits": (), "sh": ((degree + 1) ** 2, 3)}
    arrays = {
        name: np.concatenate([np.empty((0, *shape), np.float32), *(part[name] for part in parts)])
        for name, shape in shapes.items()
    }
    metadata: dict[str, object] = {}
    return finite_scene(arrays, metadata)


def _section(data: bytes, at: int, start: int, file: str) -> _Section:
    count, capacity, bucket_capacity, buckets, block = struct.unpack_from("<4If", data, at)
    bucket_bytes, scale_range, _, full, partial, degree = struct.unpack_from("<H2xI4sIIH", data, at + 20)
    if degree > 3:
        raise FormatError(file, "SH degree 0 to 3", str(degree), at + 40)
    section = _Section(
        count,
        capacity,
        bucket_capacity,
        buckets,
        block,
        bucket_bytes,
        scale_range or _RANGE,
        full,
        partial,
        degree,
        start,
    )
    if count > capacity:
        raise FormatError(file, f"at most {capacity} Gaussians in a section", str(count), at)
    require_bytes(data, start, section.rows - start, "the buckets", file)
    return section


def _row_type(level: int, degree: int) -> np.dtype:
    number = ("<f4", "<u2", "<u2")[level]
    half = ("<f4", "<f2", "<f2")[level]
    sh = ("<f4", "<f2", "u1")[level]
    fields = [("mean", number, 3), ("scale", half, 3), ("quat", half, 4), ("rgba", "u1", 4)]
    return np.dtype([*fields, ("sh", sh, 3 * _COEFFICIENTS[degree])])


def _decode(
    data: bytes, section: _Section, level: int, degree: int, sh_range: tuple[float, ...], file: str
) -> dict[str, np.ndarray]:
    rows = np.frombuffer(data, _row_type(level, section.degree), section.count, section.rows)
    means = rows["mean"].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # `finite_scene` sees to hostile numbers
        if level > 0:
            step = np.float32(section.block_size) / 2 / np.float32(section.scale_range)
            means = (means - section.scale_range) * step + _bucket_centres(data, section, file)
        log_scales = np.log(rows["scale"].astype(np.float32))
    k = _COEFFICIENTS[section.degree]
    rest = rows["sh"].astype(np.float32)
    if level == 2:
        rest = np.float32(sh_range[0]) + rest / 255 * np.float32(sh_range[1] - sh_range[0])
    sh = np.zeros((section.count, (degree + 1) ** 2, 3), np.float32)
    sh[:, 0] = dc_from_bytes(rows["rgba"][:, :3])
    for low, high in ((0, 3), (3, 8), (8, 15)):  # degree by degree, and in each red, green, blue
        if high <= k:
            band = rest[:, 3 * low : 3 * high].reshape(-1, 3, high - low)
            sh[:, 1 + low : 1 + high] = band.transpose(0, 2, 1)
    return {
        "means": means,
        "log_scales": log_scales,
        "quats": rows["quat"].astype(np.float32),
        "opacity_logits": logits_from_bytes(rows["rgba"][:, 3]),
        "sh": sh,
    }


def _bucket_centres(data: bytes, section: _Section, file: str) -> np.ndarray:
    """float32 [n, 3]: the centre of the bucket of each Gaussian. Full buckets come first, then the partial ones."""
    lengths = np.frombuffer(data, "<u4", section.partial_buckets, section.start).astype(np.int64)
    full = np.full(min(section.full_buckets, section.count), section.bucket_capacity, np.int64)
    ends = np.cumsum(np.concatenate([full, lengths]))
    bucket = np.searchsorted(ends, np.arange(section.count), side="right")
    if section.bucket_bytes < 12 or (bucket >= section.buckets).any():
        found = f"{section.buckets} of {section.bucket_bytes} bytes"
        raise FormatError(file, f"buckets of 12 bytes for {section.count} Gaussians", found, section.start)
    at = section.start + 4 * section.partial_buckets
    raw = np.frombuffer(data, np.uint8, section.bucket_bytes * section.buckets, at)
    centres = raw.reshape(section.buckets, section.bucket_bytes)[:, :12].copy().view("<f4")
    return centres[bucket]
