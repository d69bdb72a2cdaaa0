"""SOG version 2 (PlayCanvas): `meta.json` and lossless WebP pictures, in a folder or in a zip file. Reading.

Byte table: docs/formats/README.md. Writing: sog_writer.py. A pixel is a Gaussian, row by row; n = Gaussians.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from scenerep.errors import FormatError
from scenerep.io.bounds import check_expansion
from scenerep.io.packing import from_smallest_three, logits_from_bytes
from scenerep.io.repair import finite_scene
from scenerep.io.webp import read_webp
from scenerep.scenes import Gaussians

META = "meta.json"
PALETTE_WIDTH = 64  # codewords in a row of the palette picture
COEFFICIENTS = (0, 3, 8, 15)  # higher SH coefficients of a channel, for 0 to 3 bands
_FIRST_TAG = 252  # alpha of a rotation: this plus the index of its largest component
_MAX_META = 1 << 24

# Gives the bytes of the part with this name, or None if there is none.
Load = Callable[[str], bytes | None]


def is_meta(data: bytes) -> bool:
    """Whether the bytes are the `meta.json` of a SOG (and not any other JSON)."""
    return data[:1] == b"{" and b'"means"' in data[:_MAX_META] and b'"sh0"' in data[:_MAX_META]


def is_bundle(data: bytes) -> bool:
    """Whether the bytes are a zip file with a `meta.json`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return META in archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError):
        return False


def read(data: bytes, file: str = "<sog>") -> Gaussians:
    """A scene from a bundled SOG (zip).

    Raises:
        FormatError: if the bytes are none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = {info.filename: info for info in archive.infolist()}

            def load(name: str) -> bytes | None:
                if name not in infos:
                    return None
                check_expansion(infos[name].file_size, len(data), f"{file}: {name}")
                return archive.read(name)

            return read_parts(load, len(data), file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error) as error:
        raise FormatError(file, "a zip file with meta.json and WebP pictures", f"damage ({error})", 0) from None


def read_parts(load: Load, size: int, file: str) -> Gaussians:
    """A scene from the parts of a SOG.

    Args:
        load: Gives the bytes of `meta.json` and of the pictures that it names.
        size: Bytes of all parts together; bounds what they may unpack to.

    Raises:
        FormatError: if a part is missing or broken.
    """
    meta = _Meta(load(META), file)
    n = meta.count
    check_expansion(n * 56, size, file)

    def picture(group: str, which: int, least: int = n) -> np.ndarray:
        """uint8 [pixels, 4]."""
        name = meta.file(group, which)
        data = load(name)
        if data is None:
            raise FormatError(file, f"a picture {name!r}", "none")
        return read_webp(data, f"{file}: {name}", least, size).reshape(-1, 4)

    low, high = picture("means", 0)[:n, :3], picture("means", 1)[:n, :3]
    mins, maxs = meta.numbers("means", "mins", 3), meta.numbers("means", "maxs", 3)
    steps = (low | high.astype(np.uint16) << 8).astype(np.float64) / 65535
    with np.errstate(over="ignore", invalid="ignore"):
        logs = mins + steps * (maxs - mins)
        means = np.copysign(np.expm1(np.abs(logs)), logs).astype(np.float32)

    rotations = picture("quats", 0)[:n]
    others = (rotations[:, :3].astype(np.float32) / 255 - 0.5) * np.float32(np.sqrt(2))
    tags = rotations[:, 3].astype(np.int64) - _FIRST_TAG
    quats = from_smallest_three(np.clip(tags, 0, 3), others)
    quats[tags < 0] = (1, 0, 0, 0)  # as other readers do

    scales = meta.look_up("scales", picture("scales", 0)[:n, :3])
    colours = picture("sh0", 0)[:n]
    bands = meta.bands
    sh = np.zeros((n, (bands + 1) ** 2, 3), np.float32)
    sh[:, 0] = meta.look_up("sh0", colours[:, :3])
    if bands:
        count, k = meta.palette_count, COEFFICIENTS[bands]
        rows = -(-count // PALETTE_WIDTH)
        pixels = picture("shN", 0, rows * PALETTE_WIDTH * k)
        # The width is fixed, so codeword i starts at pixel i k, whatever the row.
        codewords = meta.look_up("shN", pixels[: count * k, :3]).reshape(count, k, 3)
        labels = picture("shN", 1)[:n]
        index = labels[:, 0] | labels[:, 1].astype(np.int64) << 8
        if n and index.max() >= count:
            raise FormatError(file, f"labels below {count}", str(int(index.max())))
        sh[:, 1:] = codewords[index]
    arrays = {
        "means": means,
        "log_scales": scales,
        "quats": quats,
        "opacity_logits": logits_from_bytes(colours[:, 3]),
        "sh": sh,
    }
    metadata: dict[str, object] = {}
    return finite_scene(arrays, metadata, meta.antialiased)


class _Meta:
    """`meta.json`, every value of which is checked when it is asked for."""

    def __init__(self, data: bytes | None, file: str) -> None:
        self._file = f"{file}: {META}"
        if data is None or len(data) > _MAX_META:
            raise FormatError(
                file, f"a {META} of at most {_MAX_META} bytes", "none" if data is None else str(len(data))
            )
        try:
            self._content: Any = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise FormatError(self._file, "JSON", str(error), getattr(error, "pos", None)) from None
        version = self._content.get("version") if isinstance(self._content, dict) else None
        if version != 2:
            raise FormatError(self._file, "SOG version 2", repr(version), hint="convert it with a tool that reads it")
        self.count = self._integer(self._content.get("count"), "count", 1 << 31)
        self.antialiased = bool(self._content.get("antialias", False))
        shn = self._content.get("shN")
        self.bands = 0 if shn is None else self._integer(self._group("shN").get("bands"), "shN.bands", 3)
        self.palette_count = self._integer(self._group("shN").get("count"), "shN.count", 1 << 16) if self.bands else 0

    def file(self, group: str, which: int) -> str:
        """Name of a picture."""
        names = self._group(group).get("files")
        if not isinstance(names, list) or which >= len(names) or not isinstance(names[which], str):
            raise FormatError(self._file, f"a file name at {group}.files[{which}]", repr(names)[:60])
        name = names[which]
        if "/" in name or "\\" in name or name.startswith("."):
            raise FormatError(self._file, "a file beside meta.json", repr(name)[:60])
        return name

    def numbers(self, group: str, key: str, count: int | None = None) -> np.ndarray:
        """float64 [count]."""
        values = self._group(group).get(key)
        # bool is an int for Python
        if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
            raise FormatError(self._file, f"numbers at {group}.{key}", repr(values)[:60])
        if count is not None and len(values) != count:
            raise FormatError(self._file, f"{count} numbers at {group}.{key}", str(len(values)))
        try:
            return np.array(values, np.float64)
        except OverflowError:
            raise FormatError(self._file, f"numbers at {group}.{key}", "an integer beyond all floats") from None

    def look_up(self, group: str, index: np.ndarray) -> np.ndarray:
        """float32 values of the group's codebook."""
        with np.errstate(over="ignore"):
            codebook = self.numbers(group, "codebook").astype(np.float32)
        if index.size and int(index.max()) >= len(codebook):
            raise FormatError(
                self._file, f"more than {int(index.max())} numbers at {group}.codebook", str(len(codebook))
            )
        return codebook[index]

    def _group(self, name: str) -> dict[str, Any]:
        group = self._content.get(name)
        if not isinstance(group, dict):
            raise FormatError(self._file, f"an object {name!r}", repr(group)[:60])
        return group

    def _integer(self, value: Any, name: str, highest: int) -> int:
        if type(value) is not int or not 0 <= value <= highest:
            raise FormatError(self._file, f"{name} from 0 to {highest}", repr(value)[:60])
        return value
