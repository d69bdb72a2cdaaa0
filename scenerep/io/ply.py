"""3DGS PLY: the common exchange file for Gaussian splats. Byte table and worked example: docs/formats/ply.md.

n = Gaussians, p = properties in a row, k = SH coefficients of a colour channel, (degree + 1)^2.
The world axes of the file are those of the scene, which are those of its capture: nothing is rotated on the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenerep.errors import FormatError
from scenerep.io.ply_header import Element, Header, parse_header
from scenerep.io.repair import finite_scene
from scenerep.scenes import Gaussians

_MEANS = ("x", "y", "z")
_NORMALS = ("nx", "ny", "nz")
_DC = ("f_dc_0", "f_dc_1", "f_dc_2")
_SCALES = ("scale_0", "scale_1", "scale_2")
_QUATS = ("rot_0", "rot_1", "rot_2", "rot_3")
_REQUIRED = (*_MEANS, *_DC, "opacity", *_SCALES, *_QUATS)
_REST_COUNTS = (0, 9, 24, 45)  # 3 (k - 1) for degree 0 to 3
_ANTIALIASED = "scenerep antialiased"
_DEGREE = "scenerep sh_degree"

# Rows converted at a time: the block (4 MB at 62 floats) stays near the cache while it is taken apart.
_BLOCK = 1 << 14


@dataclass(frozen=True)
class PlyOptions:
    """How a scene is written."""

    all_bands: bool = True
    """Pad the SH coefficients with zeros to degree 3: 62 properties, the layout that every reader knows."""


def write(scene: Gaussians, options: PlyOptions | None = None) -> bytes:
    """The scene as a binary little-endian 3DGS PLY.

    Lost: `scene.metadata`. The antialiased flag and the true SH degree travel as comments, which other readers ignore.
    """
    options = options or PlyOptions()
    n, k = len(scene), scene.sh.shape[1]
    rest = 15 if options.all_bands else k - 1
    names = (*_MEANS, *_NORMALS, *_DC, *(f"f_rest_{i}" for i in range(3 * rest)), "opacity", *_SCALES, *_QUATS)
    # Comments stand after the properties: some viewers look for `element vertex` on the third line.
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {n}"]
    lines += [f"property float {name}" for name in names]
    if scene.antialiased:
        lines.append(f"comment {_ANTIALIASED}")
    if rest != k - 1:
        lines.append(f"comment {_DEGREE} {scene.sh_degree}")
    header = ("\n".join([*lines, "end_header"]) + "\n").encode("ascii")

    out = bytearray(len(header) + 4 * n * len(names))
    out[: len(header)] = header
    rows = np.frombuffer(out, dtype="<f4", offset=len(header)).reshape(n, len(names))
    for lo in range(0, n, _BLOCK):
        block = slice(lo, lo + _BLOCK)
        row = rows[block]
        row[:, 0:3] = scene.means[block]
        row[:, 6:9] = scene.sh[block, 0]
        # Channel-major: all higher coefficients of red, then of green, then of blue.
        by_channel = row[:, 9 : 9 + 3 * rest].reshape(len(row), 3, rest)
        by_channel[:, :, : k - 1] = scene.sh[block, 1:].transpose(0, 2, 1)
        tail = 9 + 3 * rest
        row[:, 9:tail] = by_channel.reshape(len(row), 3 * rest)
        row[:, tail] = scene.opacity_logits[block]
        row[:, tail + 1 : tail + 4] = scene.log_scales[block]
        row[:, tail + 4 : tail + 8] = scene.quats[block]
    return bytes(out)


def read(data: bytes, file: str = "<ply>") -> Gaussians:
    """A scene from a 3DGS PLY: text or binary, either byte order, SH degree 0 to 3, properties in any order and type.

    Metadata of the result: `ignored_properties` names what the file holds beyond the format; `trailing_bytes` counts
    what stands behind the last row (files whose count was lowered by hand exist); `repaired_values` counts infinite
    opacities and scales that were replaced by +-30; `dropped_gaussians` counts rows with other values that are not
    finite, or with a zero quaternion.

    Raises:
        FormatError: if the bytes are no 3DGS PLY.
    """
    header = parse_header(data, file)
    vertex, start, trailing = _locate_vertices(data, header, file)
    index = {name: i for i, (name, _) in enumerate(vertex.properties)}
    rest = _check_properties(index, vertex, file)
    arrays = _take_apart(data, header, vertex, start, index, rest, file)
    metadata: dict[str, object] = {}
    known = {*_REQUIRED, *_NORMALS, *(f"f_rest_{i}" for i in range(rest))}
    ignored = tuple(name for name in index if name not in known)
    if ignored:
        metadata["ignored_properties"] = ignored
    if trailing:
        metadata["trailing_bytes"] = trailing
    arrays["sh"] = _trim_bands(arrays["sh"], header)
    return finite_scene(arrays, metadata, _ANTIALIASED in header.comments)


def _locate_vertices(data: bytes, header: Header, file: str) -> tuple[Element, int, int]:
    """The vertex element, the byte (binary) or row (text) at which it starts, and how many bytes follow unannounced.

    Every count is checked against the bytes that are left.
    """
    start = header.body if header.order else 0
    left = len(data) - header.body
    for position, element in enumerate(header.elements):
        # A text row is at least a character and a separator for each value; the last line may lack its end.
        row_bytes = element.row_bytes if header.order else max(2 * len(element.properties), 1)
        if row_bytes is None:
            what = f"a list property in {element.name!r}"
            raise FormatError(file, "Gaussians, all of whose properties are numbers", what, element.offset)
        if element.count * row_bytes > left + (0 if header.order else 1):
            expected = f"{element.count} rows of {row_bytes} bytes for {element.name!r}"
            raise FormatError(file, expected, f"{left} bytes left", element.offset, "the file may be cut off")
        left -= element.count * row_bytes
        if element.name == "vertex":
            last = position == len(header.elements) - 1
            return element, start, left if header.order and last else 0
        if element.name == "chunk":
            hint = "read_scene and the compressed_ply module read it"
            raise FormatError(file, "an ordinary 3DGS PLY", "a compressed PLY (element 'chunk')", element.offset, hint)
        start += element.count * (row_bytes if header.order else 1)
    names = ", ".join(element.name for element in header.elements) or "none"
    raise FormatError(file, "an element 'vertex'", f"elements: {names}", header.body)


def _check_properties(index: dict[str, int], vertex: Element, file: str) -> int:
    """The number of `f_rest_*` properties, after checking that everything a Gaussian needs is there."""
    missing = [name for name in _REQUIRED if name not in index]
    if missing:
        hint = "this looks like a point cloud or a mesh, not a splat scene" if "f_dc_0" in missing else ""
        what = f"no {', '.join(missing)}"
        raise FormatError(file, "the properties of Gaussian splats", what, vertex.offset, hint)
    rest = sum(name.startswith("f_rest_") for name in index)
    if rest not in _REST_COUNTS or any(f"f_rest_{i}" not in index for i in range(rest)):
        raise FormatError(file, "f_rest_0 to f_rest_8, 23 or 44, or none", f"{rest} f_rest properties", vertex.offset)
    return rest


def _take_apart(
    data: bytes, header: Header, vertex: Element, start: int, index: dict[str, int], rest: int, file: str
) -> dict[str, np.ndarray]:
    n, k = vertex.count, rest // 3 + 1
    arrays = {
        "means": np.empty((n, 3), np.float32),
        "log_scales": np.empty((n, 3), np.float32),
        "quats": np.empty((n, 4), np.float32),
        "opacity_logits": np.empty(n, np.float32),
        "sh": np.empty((n, k, 3), np.float32),
    }
    columns = {
        "means": [index[name] for name in _MEANS],
        "log_scales": [index[name] for name in _SCALES],
        "quats": [index[name] for name in _QUATS],
        # Coefficient-major order of our arrays from the channel-major one of the file.
        "sh": [
            index[_DC[c] if i == 0 else f"f_rest_{c * (k - 1) + i - 1}"] for i in range(k) for c in range(3)
        ],
    }  # fmt: skip
    table = (
        _binary_table(data, header, vertex, start) if header.order else _text_table(data, header, vertex, start, file)
    )
    # A double beyond the range of float32 becomes infinite and is dealt with by `finite_scene`.
    with np.errstate(over="ignore", invalid="ignore"):
        for lo in range(0, n, _BLOCK):
            rows = _as_matrix(table[lo : lo + _BLOCK]).astype(np.float32, copy=False)
            block = slice(lo, lo + len(rows))
            for name, which in columns.items():
                # take into place: four times as fast as rows[:, which]; "clip" spares it a copy of its own.
                out = arrays[name][block].reshape(len(rows), len(which))
                np.take(rows, which, axis=1, out=out, mode="clip")
            arrays["opacity_logits"][block] = rows[:, index["opacity"]]
    return arrays


def _binary_table(data: bytes, header: Header, vertex: Element, start: int) -> np.ndarray:
    """[n, p] of one number type, or [n] rows of mixed types; a view of `data`."""
    codes = [header.order + str(code) for _, code in vertex.properties]
    if len(set(codes)) == 1:
        flat = np.frombuffer(data, codes[0], vertex.count * len(codes), start)
        return flat.reshape(vertex.count, len(codes))
    row = np.dtype([(f"p{i}", code) for i, code in enumerate(codes)])
    return np.frombuffer(data, row, vertex.count, start)


def _text_table(data: bytes, header: Header, vertex: Element, start: int, file: str) -> np.ndarray:
    p = len(vertex.properties)
    if vertex.count == 0:
        return np.empty((0, p))
    try:
        lines = [line for line in data[header.body :].decode("ascii").split("\n") if line.strip()]
        if len(lines) < start + vertex.count:
            raise FormatError(file, f"{vertex.count} rows", f"{max(0, len(lines) - start)}", header.body)
        table = np.loadtxt(lines[start : start + vertex.count], np.float64, comments=None, ndmin=2)
    except ValueError as error:  # also UnicodeDecodeError
        raise FormatError(file, f"rows of {p} numbers", str(error), header.body) from None
    if table.shape != (vertex.count, p):
        raise FormatError(
            file, f"{vertex.count} rows of {p} numbers", f"{table.shape[0]} of {table.shape[1]}", header.body
        )
    return table


def _as_matrix(rows: np.ndarray) -> np.ndarray:
    """[m, p] from plain or mixed rows."""
    names = rows.dtype.names
    return rows if names is None else np.stack([rows[name].astype(np.float64) for name in names], axis=1)


def _trim_bands(sh: np.ndarray, header: Header) -> np.ndarray:
    """Undo the zero padding that `write` has announced in a comment; a comment that does not fit is ignored."""
    for comment in header.comments:
        if comment.startswith(_DEGREE) and comment[len(_DEGREE) :].strip() in ("0", "1", "2"):
            k = (int(comment.split()[-1]) + 1) ** 2
            if k < sh.shape[1] and not sh[:, k:].any():
                return sh[:, :k]
    return sh
