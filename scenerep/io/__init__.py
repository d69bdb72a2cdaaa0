"""Scenes in files: one module per format, found by content when reading and by the ending when writing."""

from __future__ import annotations

from pathlib import Path

from scenerep.errors import DataError, FormatError
from scenerep.io import ply, srz
from scenerep.io.files import write_bytes
from scenerep.scenes import Gaussians

__all__ = ["FORMATS", "read_scene", "write_scene"]

FORMATS = {".ply": ply, ".srz": srz}

# First bytes of splat files that we know by sight but do not read.
_FOREIGN = {
    b"\x1f\x8b": "a gzip file (SPZ?)",
    b"NGSP": "an SPZ file",
    b"PK\x03\x04": "a zip file (SOG?)",
    b"glTF": "a binary glTF file",
}


def read_scene(path: str | Path) -> Gaussians:
    """A scene from a file of any known format, recognised by its content.

    Raises:
        DataError: if the file is missing or unreadable.
        FormatError: if its content is broken or of an unknown kind.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "name a .ply or .srz file") from error
    if data.startswith(b"ply"):
        return ply.read(data, str(path))
    if srz.is_srz(data):
        return srz.read(data, str(path))
    known = next((name for magic, name in _FOREIGN.items() if data.startswith(magic)), repr(data[:8]))
    hint = "convert it to a 3DGS PLY with the tool that made it"
    raise FormatError(path, "a 3DGS PLY ('ply') or an .srz file", known if data else "an empty file", 0, hint)


def write_scene(scene: Gaussians, path: str | Path, *, overwrite: bool = True) -> None:
    """Write a scene in the format of the path's ending; the file appears whole or not at all.

    Raises:
        DataError: if the ending is not known, or the file cannot be written (or exists and `overwrite` is False).
    """
    path = Path(path)
    module = FORMATS.get(path.suffix.lower())
    if module is None:
        endings = ", ".join(FORMATS)
        raise DataError(f"{path}: no scene format has the ending {path.suffix!r}", f"use one of: {endings}")
    write_bytes(path, module.write(scene), overwrite=overwrite)
