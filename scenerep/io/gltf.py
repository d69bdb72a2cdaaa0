"""What of glTF 2.0 a splat file needs: the container, accessors, and nodes with their transforms. Checked reading."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from scenerep.errors import FormatError
from scenerep.geometry.poses import pose
from scenerep.geometry.quaternions import rotation_from_quaternion
from scenerep.io.bounds import check_expansion, require_bytes

MAGIC = b"glTF"
POINTS = 0
UNSIGNED_BYTE, FLOAT = 5121, 5126
_CODES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_MAX_NODES = 1 << 16
_DATA_URI = "base64,"


class Gltf:
    """A glTF file in memory; every index and length is checked when it is followed."""

    def __init__(self, data: bytes, file: str) -> None:
        self.file = file
        self._size = len(data)
        document, self._body = _split(data, file) if data.startswith(MAGIC) else (data, None)
        try:
            content = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise FormatError(file, "JSON", str(error), getattr(error, "pos", None)) from None
        self._document: dict[str, Any] = self.object(content, "the document")
        asset = self.object(self._document.get("asset", {}), "asset")
        if str(asset.get("version", ""))[:2] != "2.":
            raise FormatError(file, "glTF version 2", repr(asset.get("version"))[:40])
        self._buffers: dict[int, memoryview] = {}

    @property
    def extensions_used(self) -> list[Any]:
        return self._list(self._document.get("extensionsUsed", []), "extensionsUsed")

    def object(self, value: Any, place: str) -> dict[str, Any]:
        """The value, if it is a JSON object."""
        if not isinstance(value, dict):
            raise FormatError(self.file, f"an object at {place}", repr(value)[:40])
        return value

    def primitives(self) -> Iterator[tuple[np.ndarray, dict[str, Any], str]]:
        """(world from primitive [4, 4], primitive, its place in words) of all nodes of the default scene."""
        scenes = self._list(self._document.get("scenes", []), "scenes")
        which = self._document.get("scene", 0)
        roots = self._list(self._entry(scenes, which, "scenes").get("nodes", []), "scene.nodes") if scenes else []
        nodes = self._list(self._document.get("nodes", []), "nodes")
        meshes = self._list(self._document.get("meshes", []), "meshes")
        seen: set[int] = set()
        stack = [(root, np.eye(4)) for root in roots]
        while stack:
            index, parent = stack.pop()
            node = self._entry(nodes, index, "nodes")
            if index in seen or len(seen) > _MAX_NODES:  # the standard asks for trees
                raise FormatError(self.file, "nodes in a tree", f"node {index} twice")
            seen.add(index)
            world = parent @ self._local(node, index)
            stack += [(child, world) for child in self._list(node.get("children", []), f"nodes[{index}].children")]
            if "mesh" in node:
                mesh = self._entry(meshes, node["mesh"], "meshes")
                for i, primitive in enumerate(self._list(mesh.get("primitives", []), "primitives")):
                    place = f"meshes[{node['mesh']}].primitives[{i}]"
                    yield world, self.object(primitive, place), place

    def view_bytes(self, index: Any, place: str) -> memoryview:
        """The bytes of a buffer view, where they stand: copies of large files would double the memory."""
        views = self._list(self._document.get("bufferViews", []), "bufferViews")
        view = self._entry(views, index, f"bufferViews ({place})")
        start, size = (
            self._natural(view.get(key, 0), f"bufferViews[{index}].{key}") for key in ("byteOffset", "byteLength")
        )
        buffer = self._buffer(view.get("buffer"))
        require_bytes(buffer, start, size, place, self.file)
        return buffer[start : start + size]

    def accessor(self, index: Any, kind: str, place: str) -> np.ndarray:
        """float32 [count, width] of an accessor of type `kind`; normalised integers become -1..1 or 0..1."""
        accessors = self._list(self._document.get("accessors", []), "accessors")
        accessor = self._entry(accessors, index, f"accessors ({place})")
        count = self._natural(accessor.get("count"), f"{place}.count")
        code = _CODES.get(self._natural(accessor.get("componentType"), f"{place}.componentType"))
        if code is None or accessor.get("type") != kind or "sparse" in accessor or "bufferView" not in accessor:
            found = f"{accessor.get('type')!r} of {accessor.get('componentType')!r}"
            raise FormatError(self.file, f"a dense accessor of type {kind} for {place}", found[:80])
        width, item = _WIDTHS[kind], np.dtype(code).itemsize
        data = self.view_bytes(accessor["bufferView"], place)
        offset = self._natural(accessor.get("byteOffset", 0), f"{place}.byteOffset")
        views = self._list(self._document.get("bufferViews", []), "bufferViews")
        stride = self._natural(views[accessor["bufferView"]].get("byteStride", 0), "byteStride") or width * item
        if stride < width * item:
            raise FormatError(self.file, f"a stride of at least {width * item} for {place}", str(stride))
        require_bytes(data, offset, (count - 1) * stride + width * item if count else 0, place, self.file)
        # Attributes may share bytes, but all together they are no larger than a scene of this file can be.
        check_expansion(count * width * 4, self._size, self.file)
        raw = np.ndarray((count, width), code, data, offset, (stride, item)) if count else np.empty((0, width), code)
        if accessor.get("normalized") and raw.dtype.kind in "iu":
            return np.maximum(raw.astype(np.float32) / np.iinfo(raw.dtype).max, -1)
        return raw.astype(np.float32)

    def _buffer(self, index: Any) -> memoryview:
        buffers = self._list(self._document.get("buffers", []), "buffers")
        buffer = self._entry(buffers, index, "buffers")
        if index not in self._buffers:
            uri = buffer.get("uri")
            if uri is None and index == 0 and self._body is not None:
                self._buffers[index] = self._body
            elif isinstance(uri, str) and uri.startswith("data:") and _DATA_URI in uri[:200]:
                try:
                    self._buffers[index] = memoryview(base64.b64decode(uri.partition(_DATA_URI)[2], validate=True))
                except (binascii.Error, ValueError) as error:
                    raise FormatError(self.file, f"base64 in buffers[{index}]", str(error)) from None
            else:
                hint = "convert it to .glb, which holds everything in one file"
                raise FormatError(self.file, f"buffers[{index}] inside the file", repr(uri)[:60], hint=hint)
        return self._buffers[index]

    def _local(self, node: dict[str, Any], index: int) -> np.ndarray:
        place = f"nodes[{index}]"
        if "matrix" in node:
            return self._numbers(node["matrix"], 16, f"{place}.matrix").reshape(4, 4).T  # columns first
        turn = self._numbers(node.get("rotation", [0, 0, 0, 1]), 4, f"{place}.rotation")
        move = self._numbers(node.get("translation", [0, 0, 0]), 3, f"{place}.translation")
        scale = self._numbers(node.get("scale", [1, 1, 1]), 3, f"{place}.scale")
        try:
            rotation = rotation_from_quaternion(turn[[3, 0, 1, 2]])
        except ValueError as error:
            raise FormatError(self.file, f"a rotation at {place}", str(error)) from None
        return pose(rotation * scale, move)

    def _numbers(self, value: Any, count: int, place: str) -> np.ndarray:
        values = self._list(value, place)
        if len(values) != count or not all(type(v) in (int, float) and abs(v) < 1e30 for v in values):
            raise FormatError(self.file, f"{count} numbers at {place}", repr(value)[:60])
        return np.array(values, np.float64)

    def _list(self, value: Any, place: str) -> list[Any]:
        if not isinstance(value, list):
            raise FormatError(self.file, f"a list at {place}", repr(value)[:40])
        return value

    def _entry(self, values: list[Any], index: Any, place: str) -> dict[str, Any]:
        if type(index) is not int or not 0 <= index < len(values):
            raise FormatError(self.file, f"an index below {len(values)} into {place}", repr(index)[:40])
        return self.object(values[index], f"{place}[{index}]")

    def _natural(self, value: Any, place: str) -> int:
        if type(value) is not int or not 0 <= value < 1 << 48:
            raise FormatError(self.file, f"a whole number at {place}", repr(value)[:40])
        return value


def _split(data: bytes, file: str) -> tuple[bytes, memoryview | None]:
    """The JSON chunk and the binary one, if there is one (glTF 2.0, section 4.4)."""
    require_bytes(data, 0, 20, "the header and the first chunk", file)
    version, total, size, kind = struct.unpack_from("<III4s", data, 4)
    if version != 2 or kind != b"JSON":
        raise FormatError(file, "a binary glTF of version 2 that starts with JSON", f"version {version}, {kind!r}", 4)
    require_bytes(data, 0, total, "the file", file)
    require_bytes(data, 20, size, "the JSON chunk", file)
    start = 20 + size
    if len(data) - start < 8:
        return data[20:start], None
    size, kind = struct.unpack_from("<I4s", data, start)
    if kind != b"BIN\0":
        return data[20 : 20 + struct.unpack_from("<I", data, 12)[0]], None
    require_bytes(data, start + 8, size, "the binary chunk", file)
    return data[20:start], memoryview(data)[start + 8 : start + 8 + size]
