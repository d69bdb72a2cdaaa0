"""Meshes and points as files: .glb, .ply and .obj through trimesh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scenerep.captures import Points
from scenerep.captures.points import points_to_ply
from scenerep.errors import DataError
from scenerep.io.axes import OURS, flips
from scenerep.io.files import write_bytes

if TYPE_CHECKING:
    import open3d

MESH_ENDINGS = (".glb", ".ply", ".obj")
_GLTF_AXES = "LUF"


def write_mesh(mesh: open3d.geometry.TriangleMesh, path: str | Path, *, overwrite: bool = True) -> None:
    """Write a mesh with vertex colours and normals; the file appears whole or not at all.

    .glb gets glTF's axes (y up); .ply and .obj keep the scene's. .obj has its colours behind the vertices' coordinates,
    an extension that most programs read.

    Raises:
        DataError: if the ending is another one, or the file cannot be written.
    """
    import trimesh

    path = Path(path)
    ending = path.suffix.lower()
    if ending not in MESH_ENDINGS:
        raise DataError(f"{path}: no mesh format has the ending {ending!r}", f"use one of: {', '.join(MESH_ENDINGS)}")
    vertices, normals = np.asarray(mesh.vertices), np.asarray(mesh.vertex_normals)
    if ending == ".glb":
        turn = flips(OURS, _GLTF_AXES)  # a rotation, so triangles keep their orientation
        vertices, normals = vertices * turn, normals * turn
    colours = np.round(np.clip(np.asarray(mesh.vertex_colors), 0, 1) * 255).astype(np.uint8)
    opaque = np.full((len(colours), 1), 255, np.uint8)
    made = trimesh.Trimesh(
        vertices=vertices,
        faces=np.asarray(mesh.triangles),
        vertex_normals=normals,
        vertex_colors=np.concatenate([colours, opaque], axis=1),
        process=False,
    )
    data: Any = made.export(file_type=ending[1:])  # text for .obj
    write_bytes(path, data.encode() if isinstance(data, str) else data, overwrite=overwrite)


def points_to_bytes(xyz: np.ndarray, rgb: np.ndarray) -> bytes:
    """A binary PLY of coloured points: xyz float32 [m, 3], rgb uint8 [m, 3]."""
    return points_to_ply(Points(xyz, rgb))
