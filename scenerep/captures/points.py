"""points.ply: the sparse points of a capture as binary little-endian PLY, x y z float32 and red green blue uint8."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenerep.captures.capture import Points
from scenerep.errors import FormatError

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "<i2", "int16": "<i2", "ushort": "<u2",
    "uint16": "<u2", "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4", "float": "<f4", "float32": "<f4",
    "double": "<f8", "float64": "<f8",
}  # fmt: skip
# Real headers have some hundred bytes; the limit keeps a wrong file from being searched through.
_HEADER_LIMIT = 65536


def points_to_ply(points: Points) -> bytes:
    """The bytes of points.ply: 15 a point after the header."""
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    )
    rows = np.empty(len(points), dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])
    rows["xyz"], rows["rgb"] = points.xyz, points.rgb
    return header.encode("ascii") + rows.tobytes()


def points_from_ply(data: bytes, name: str | Path) -> Points:
    """Points of a PLY file, ASCII or binary little-endian, that starts with its vertices; grey if it has no colours.

    Other properties are skipped; points that are not finite are dropped.

    Raises:
        FormatError: the header is broken, the file is shorter than its count says, or x y z are missing.
    """
    kind, count, fields, start = _header(data, name)
    names = [field for field, _ in fields]
    if not {"x", "y", "z"} <= set(names):
        raise FormatError(name, "vertex properties x, y and z", ", ".join(names) or "none")
    if kind == "ascii":
        columns = _ascii_rows(data, start, count, names, name)
    else:
        dtype = np.dtype(fields)
        if len(data) - start < count * dtype.itemsize:
            raise FormatError(name, f"{count * dtype.itemsize} bytes of vertices", f"{len(data) - start}", start)
        columns = np.frombuffer(data, dtype, count, start)
    xyz = np.stack([columns[axis] for axis in "xyz"], axis=1)
    rgb = np.full((count, 3), 128, dtype=np.uint8)
    for i, channel in enumerate(("red", "green", "blue")):
        if channel in names:
            values = columns[channel]
            floating = dict(fields)[channel] in ("<f4", "<f8")
            rgb[:, i] = np.clip(np.nan_to_num(values * 255.0 + 0.5 if floating else values), 0, 255).astype(np.uint8)
    keep = (np.abs(xyz) < 1e30).all(axis=1)  # what overflows float32 is damage, as are infinity and NaN
    return Points(xyz[keep], rgb[keep])


def _header(data: bytes, name: str | Path) -> tuple[str, int, list[tuple[str, str]], int]:
    end = data.find(b"end_header", 0, _HEADER_LIMIT)
    newline = data.find(b"\n", end) if end >= 0 else -1
    if not data.startswith(b"ply") or newline < 0:
        raise FormatError(name, "a PLY header, from 'ply' to 'end_header'", repr(bytes(data[:16])), 0)
    kind, count, element, fields = "", -1, "", []
    for line in data[:end].decode("ascii", errors="replace").splitlines():
        words = line.split()
        if words[:1] == ["format"] and len(words) == 3:
            kind = words[1]
        elif words[:1] == ["element"] and len(words) == 3:
            if not element and words[1] != "vertex":
                raise FormatError(name, "the vertices as the first element", f"{words[1]!r}")
            element = words[1]
            if element == "vertex":
                count = int(words[2]) if words[2].isdigit() else -1
        elif words[:1] == ["property"] and element == "vertex":
            if len(words) != 3 or words[1] not in _TYPES or words[2] in dict(fields):
                raise FormatError(name, "vertex properties of known types, each once", f"{line!r}")
            fields.append((words[2], _TYPES[words[1]]))
    if kind not in ("ascii", "binary_little_endian"):
        raise FormatError(name, "format ascii or binary_little_endian", f"{kind!r}")
    if count < 0:
        raise FormatError(name, "an element vertex with its count", "none")
    return kind, count, fields, newline + 1


def _ascii_rows(data: bytes, start: int, count: int, names: list[str], name: str | Path) -> dict[str, np.ndarray]:
    # A row needs two bytes a number at least: no allocation for a count that the file cannot hold.
    if count * len(names) * 2 > len(data) - start + 1:
        raise FormatError(name, f"{count} rows of {len(names)} numbers", f"{len(data) - start} bytes", start)
    lines = data[start:].decode("ascii", errors="replace").splitlines()[:count]
    try:
        table = np.array([[float(word) for word in line.split()[: len(names)]] for line in lines], dtype=np.float64)
        table = table.reshape(count, len(names))
    except ValueError as error:
        raise FormatError(name, f"{count} rows of {len(names)} numbers", str(error), start) from error
    return {field: table[:, i] for i, field in enumerate(names)}
