"""Scenes from and to files of any format: recognised by content when reading, named by the ending when writing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from scenerep.coding.container import is_srz
from scenerep.errors import DataError, FormatError
from scenerep.formats import FORMATS, format_of_name
from scenerep.io.files import write_bytes
from scenerep.scenes import Gaussians, Scene

_META = "meta.json"


def read_scene(path: str | Path) -> Scene:
    """A scene from a file of any known format, or from a folder that holds a SOG, recognised by its content.

    `metadata["format"]` of the result names the format.

    Raises:
        DataError: if the file is missing or unreadable.
        FormatError: if its content is broken or of an unknown kind.
    """
    path = Path(path)
    if is_scene_folder(path):
        path = path / _META
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "name a scene file") from error
    name = detect(data, str(path))
    if name == _META:
        scene, name = _read_sog_folder(path), "sog"
    else:
        scene = FORMATS[name].load_reader().read(data, str(path))
    scene.metadata["format"] = name
    return scene


def is_scene_folder(path: Path) -> bool:
    """Whether a folder is a scene by itself: a SOG, and not a capture that happens to have a file of that name."""
    meta = path / _META
    if not meta.is_file():
        return False
    from scenerep.io import sog

    with meta.open("rb") as file:
        return sog.is_meta(file.read(1 << 20))


def detect(data: bytes, file: str) -> str:
    """The format of the content, a key of FORMATS, or `meta.json` for the head of a SOG folder.

    Formats with a mark of their own come first; .ksplat and .splat have none and are recognised by plausible numbers.

    Raises:
        FormatError: if no format fits.
    """
    if data.startswith((b"ply\n", b"ply\r")):
        from scenerep.io.compressed_ply import is_compressed
        from scenerep.io.ply_header import parse_header

        return "compressed.ply" if is_compressed(parse_header(data, file)) else "ply"
    if data.startswith((b"NGSP", b"\x1f\x8b")):
        return "spz"
    if data.startswith(b"glTF"):
        return "glb"
    if is_srz(data):
        return "srz"
    if data.startswith(b"PK\x03\x04"):
        from scenerep.io import sog, torch_checkpoint

        if torch_checkpoint.looks_like(data):
            return "checkpoint"
        if sog.is_bundle(data):
            return "sog"
        if not is_zipfile(io.BytesIO(data)):  # its table of contents is at the end
            raise FormatError(
                file,
                "the end of a zip file",
                "none within its bytes",
                len(data),
                "get a fresh copy, this one is cut off",
            )
        raise FormatError(file, "a SOG (meta.json) or a checkpoint (data.pkl) in a zip file", "another zip file", 0)
    if data[:1] == b"{":
        from scenerep.io import glb, sog

        if sog.is_meta(data):
            return _META
        if glb.looks_like(data):
            return "glb"
    from scenerep.io import ksplat, splat

    if ksplat.looks_like(data):
        return "ksplat"
    if splat.looks_like(data):
        return "splat"
    known = ", ".join(FORMATS)
    found = repr(bytes(data[:8])) if data else "an empty file"
    raise FormatError(file, f"a scene: {known}", found, 0, "convert it with the tool that made it")


def write_scene(
    scene: Gaussians,
    path: str | Path,
    *,
    overwrite: bool = True,
    format: str | None = None,
    options: Any = None,
) -> None:
    """Write a scene; the file appears whole or not at all.

    Args:
        format: A key of FORMATS; by default the one that the path's ending names. A path that ends in `meta.json` is
            written as a SOG folder: the pictures first, `meta.json` last.
        options: The options of the format's writer (PlyOptions, SpzOptions, SogOptions).

    Raises:
        DataError: if the ending is not known, or the file cannot be written (or exists and `overwrite` is False).
        SceneRepError: if the format cannot hold the scene at all.
    """
    path = Path(path)
    name = format or format_of_name(path.name)
    entry = FORMATS.get(name or "")
    if entry is None or entry.writer is None:
        endings = ", ".join(ending for entry in FORMATS.values() if entry.writer for ending in entry.endings)
        what = f"{name} is only read" if entry else f"no scene format has the ending {path.suffix!r}"
        raise DataError(f"{path}: {what}", f"use one of: {endings}")
    writer = entry.load_writer()
    if name == "sog" and path.name == _META:
        for part, data in writer.write_parts(scene, options).items():
            write_bytes(path.with_name(part), data, overwrite=overwrite)
        return
    data = writer.write(scene) if options is None else writer.write(scene, options)
    write_bytes(path, data, overwrite=overwrite)


def lost(scene: Gaussians, format: str) -> list[str]:
    """What a file of this format will not hold of the scene, a line each."""
    entry = FORMATS[format]
    lines = []
    if scene.sh_degree > entry.sh_degree:
        lines.append(f"SH above degree {entry.sh_degree} (the scene has degree {scene.sh_degree})")
    if scene.antialiased and not entry.antialiased:
        lines.append("that the scene was trained antialiased")
    if scene.antialiased and format == "ply":
        lines.append("that the scene was trained antialiased: it stands in a comment that other viewers do not read")
    if entry.rounds:
        lines.append(f"full precision: rounds {entry.rounds}")
    return lines


def _read_sog_folder(meta: Path) -> Gaussians:
    from scenerep.io import sog

    folder = meta.parent

    def load(name: str) -> bytes | None:
        try:
            return (folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"{folder / name} cannot be read: {error.strerror or error}") from error

    size = sum(file.stat().st_size for file in folder.glob("*.webp")) + meta.stat().st_size
    return sog.read_parts(load, size, str(folder))
