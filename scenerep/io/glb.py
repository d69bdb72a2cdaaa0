"""glTF 2.0 with KHR_gaussian_splatting, as .glb or .gltf with embedded data. Byte table: docs/formats/README.md.

The extension's text is that of its ratification by Khronos: sizes and opacities are stored as such, not as logarithms
and logits. Earlier drafts stored logarithms of sizes; such files are told by negative sizes. The open draft
KHR_gaussian_splatting_compression_spz_2 (an SPZ file in a buffer view) is read, not written.
World axes: LUF (glTF 2.0, section 3.4); node transforms are applied when reading. n = Gaussians.
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np

import scenerep
from scenerep.editing import merge, transform
from scenerep.errors import FormatError
from scenerep.geometry.poses import nearest_rotation
from scenerep.geometry.sh import rgb_from_dc
from scenerep.io import spz
from scenerep.io.axes import AXES, OURS, convert_axes, flip_axes
from scenerep.io.gltf import FLOAT, MAGIC, POINTS, UNSIGNED_BYTE, Gltf
from scenerep.io.packing import logits_from_opacity, opacity, to_bytes
from scenerep.io.repair import finite_scene
from scenerep.scenes import Gaussians

_NAME = "KHR_gaussian_splatting"
_SPZ = "KHR_gaussian_splatting_compression_spz_2"
_EMPTY = Gaussians(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 4)), np.zeros(0), np.zeros((0, 1, 3)))
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


def looks_like(data: bytes) -> bool:
    """Whether the bytes are a .glb, or JSON that names the extension."""
    return data.startswith(MAGIC) or (data.lstrip()[:1] == b"{" and _NAME.encode() in data)


def holds_splats(head: bytes) -> bool:
    """Whether the first bytes of a .glb, which hold its JSON, name the extension: otherwise it is a mesh."""
    return _NAME.encode() in head


def write(scene: Gaussians) -> bytes:
    """The scene as .glb: one node, one primitive of points, all attributes as float32, COLOR_0 for other viewers.

    Lost: the antialiased flag. Nothing is rounded, but opacities and sizes go through float32 sigmoid and exp.
    """
    scene = convert_axes(scene, OURS, AXES["glb"])
    unit = scene.quats / np.maximum(np.linalg.norm(scene.quats, axis=1, keepdims=True), 1e-30)
    rgb = to_bytes(rgb_from_dc(scene.sh[:, 0]) * 255)
    alpha = opacity(scene.opacity_logits)
    columns = {
        "POSITION": scene.means,
        "COLOR_0": np.concatenate([rgb, to_bytes(alpha * 255)[:, None]], axis=1),
        f"{_NAME}:ROTATION": unit[:, [1, 2, 3, 0]],
        f"{_NAME}:SCALE": np.exp(scene.log_scales),
        f"{_NAME}:OPACITY": alpha[:, None],
    }
    for degree in range(scene.sh_degree + 1):
        for i in range(2 * degree + 1):
            columns[f"{_NAME}:SH_DEGREE_{degree}_COEF_{i}"] = scene.sh[:, degree**2 + i]
    views, accessors, body = [], [], []
    start = 0
    for column in columns.values():
        integer = column.dtype == np.uint8
        raw = column.tobytes() if integer else column.astype("<f4").tobytes()
        accessor = {
            "bufferView": len(views),
            "componentType": UNSIGNED_BYTE if integer else FLOAT,
            "count": len(scene),
            "type": _TYPES[column.shape[1]],
        }
        views.append({"buffer": 0, "byteOffset": start, "byteLength": len(raw), "target": 34962})
        accessors.append(accessor | ({"normalized": True} if integer else {}))
        body.append(raw)
        start += len(raw)
    if len(scene):
        accessors[0] |= {"min": scene.means.min(axis=0).tolist(), "max": scene.means.max(axis=0).tolist()}
    extension = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display", "sortingMethod": "cameraDistance"}
    primitive = {
        "attributes": {name: i for i, name in enumerate(columns)},
        "mode": POINTS,
        "extensions": {_NAME: extension | {"projection": "perspective"}},
    }
    # glTF allows neither empty buffers nor accessors of nothing: an empty scene has no mesh.
    filled = {
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"byteLength": start}],
        "bufferViews": views,
        "accessors": accessors,
    }
    document = {
        "asset": {"version": "2.0", "generator": f"scenerep {scenerep.__version__}"},
        "extensionsUsed": [_NAME],
        "scene": 0,
        **(filled if len(scene) else {"scenes": [{}]}),
    }
    return _glb(json.dumps(document).encode(), b"".join(body))


def read(data: bytes, file: str = "<glb>") -> Gaussians:
    """All splat primitives of the file's scene, as one scene.

    Metadata of the result: `log_space_sizes` where a draft's logarithms were found; `skipped_meshes` counts primitives
    of other kinds.

    Raises:
        FormatError: if the bytes are no glTF or the splats in it are broken.
    """
    gltf = Gltf(data, file)
    parts, skipped, used = [], 0, False
    for world, primitive, place in gltf.primitives():
        extension = gltf.object(primitive.get("extensions", {}), f"{place}.extensions").get(_NAME)
        if extension is None:
            skipped += 1
            continue
        used = True
        part = _primitive(gltf, primitive, gltf.object(extension, f"{place}.extensions.{_NAME}"), place)
        parts.append(_placed(part, world, gltf, place))
    if not used and not (skipped == 0 and _NAME in gltf.extensions_used):
        hint = "a mesh is no splat scene" if skipped else ""
        raise FormatError(file, f"a primitive with {_NAME}", f"{skipped} other primitives", 0, hint)
    scene = (merge(parts) if len(parts) > 1 else parts[0]) if parts else _EMPTY
    metadata: dict[str, object] = {"skipped_meshes": skipped} if skipped else {}
    for part in parts:
        metadata |= part.metadata
    flip_axes(scene.arrays(), AXES["glb"], OURS)
    return replace(scene, metadata=metadata)


def _primitive(gltf: Gltf, primitive: dict, extension: dict, place: str) -> Gaussians:
    """The splats of one primitive, in the axes of the file."""
    kernel = extension.get("kernel", "ellipse")
    if kernel != "ellipse":
        raise FormatError(gltf.file, "the kernel 'ellipse'", repr(kernel)[:40])
    nested = gltf.object(extension.get("extensions", {}), f"{place}.extensions")
    if _SPZ in nested:
        view = gltf.object(nested[_SPZ], _SPZ).get("bufferView")
        packed = gltf.view_bytes(view, f"{_SPZ}.bufferView")
        return convert_axes(spz.read(bytes(packed), f"{gltf.file}: {_SPZ}"), OURS, AXES["glb"])
    attributes = gltf.object(primitive.get("attributes", {}), f"{place}.attributes")

    def column(name: str, width: int) -> np.ndarray:
        if name not in attributes:
            raise FormatError(gltf.file, f"an attribute {name} in {place}", "none")
        return gltf.accessor(attributes[name], _TYPES[width], f"{place} {name}")

    means = column("POSITION", 3)
    degree = max((d for d in range(4) if f"{_NAME}:SH_DEGREE_{d}_COEF_0" in attributes), default=None)
    if degree is None:
        raise FormatError(gltf.file, f"an attribute {_NAME}:SH_DEGREE_0_COEF_0 in {place}", "none")
    names = [f"{_NAME}:SH_DEGREE_{d}_COEF_{i}" for d in range(degree + 1) for i in range(2 * d + 1)]
    columns = {
        "means": means,
        "log_scales": column(f"{_NAME}:SCALE", 3),
        "quats": column(f"{_NAME}:ROTATION", 4)[:, [3, 0, 1, 2]],
        "opacity_logits": column(f"{_NAME}:OPACITY", 1)[:, 0],
    }
    columns["sh"] = np.empty((len(means), len(names), 3), np.float32)
    counts = {len(array) for array in columns.values()}
    for i, name in enumerate(names):  # one at a time: SH is most of a scene
        coefficient = column(name, 3)
        counts.add(len(coefficient))
        if len(counts) == 1:
            columns["sh"][:, i] = coefficient
    if len(counts) > 1:
        raise FormatError(gltf.file, f"attributes of one length in {place}", str(sorted(counts)))
    metadata: dict[str, object] = {}
    sizes = columns["log_scales"]
    if (sizes < 0).any():
        metadata["log_space_sizes"] = True
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            columns["log_scales"] = np.log(sizes)
    columns["opacity_logits"] = logits_from_opacity(columns["opacity_logits"])
    return finite_scene(columns, metadata)


def _placed(scene: Gaussians, world: np.ndarray, gltf: Gltf, place: str) -> Gaussians:
    """The splats under their node's transform [4, 4], which must be a similarity: Gaussians cannot be sheared."""
    if np.array_equal(world, np.eye(4)):
        return scene
    linear = world[:3, :3]
    scale = float(np.cbrt(abs(np.linalg.det(linear))))
    if not (0 < scale < 1e30) or not np.allclose(linear @ linear.T, scale**2 * np.eye(3), atol=1e-3 * scale**2):
        raise FormatError(gltf.file, f"a node of {place} that moves, turns and scales evenly", "another transform")
    if np.linalg.det(linear) < 0:
        raise FormatError(gltf.file, f"a node of {place} that does not mirror", "a mirroring transform")
    return transform(scene, scale=scale, rotation=nearest_rotation(linear / scale), translation=world[:3, 3])


def _glb(document: bytes, body: bytes) -> bytes:
    document += b" " * (-len(document) % 4)
    body += bytes(-len(body) % 4)
    chunks = struct.pack("<I4s", len(document), b"JSON") + document
    if body:
        chunks += struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", MAGIC, 2, 12 + len(chunks)) + chunks
