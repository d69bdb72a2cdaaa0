"""Mesh files, by trimesh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scenerep.errors import DataError, FormatError
from scenerep.io import glb
from scenerep.io.ply_header import parse_header

if TYPE_CHECKING:
    import trimesh

_ENDINGS = (".obj", ".stl", ".off")


def is_mesh(path: Path) -> bool:
    """Whether a file holds a mesh: by its ending, a PLY by its faces, glTF by the lack of splats."""
    if path.suffix.lower() in _ENDINGS:
        return True
    with path.open("rb") as file:
        head = file.read(1 << 20)
    if head.startswith(b"glTF"):
        return not glb.holds_splats(head)
    if not head.startswith((b"ply\n", b"ply\r")):
        return False
    try:
        return any(element.name == "face" and element.count > 0 for element in parse_header(head, str(path)).elements)
    except FormatError:
        return False


def read_mesh(path: Path) -> trimesh.Trimesh:
    """All parts of a file as one mesh in world coordinates.

    Raises:
        DataError: if the file cannot be read; FormatError if it holds no mesh.
    """
    import trimesh  # half a second

    if not path.is_file():  # trimesh would take the name for the mesh itself
        raise DataError(f"{path} cannot be read: it is no file")
    try:
        mesh = trimesh.load_mesh(path, process=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # trimesh's loaders raise whatever their parsers do
        raise FormatError(path, "a mesh", f"damage ({error})", 0) from None
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.vertices) == 0:
        raise FormatError(path, "a mesh with triangles", "none", 0)
    return mesh
