"""Triangles of a field's zero level, by marching cubes (Lewiner et al. 2003; scikit-image), near the surface only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from scenerep.errors import ConfigError, DataError
from scenerep.implicit.evaluate import field_values, network_of
from scenerep.meshes.config import MeshConfig
from scenerep.scenes import SURFACE, NeuralField, unit_places, unit_scale

if TYPE_CHECKING:
    import open3d

_BLOCK = 8  # cells along a side of a block that is looked at as a whole
_REACH = 2.0  # a block further than this times its half diagonal from the surface has none in it


def zero_level(
    distance: Callable[[np.ndarray], np.ndarray], box: np.ndarray, resolution: int
) -> tuple[np.ndarray, np.ndarray]:
    """(vertices float64 [v, 3], faces int64 [f, 3], outward normals by the right hand) of distance(x) = 0 in a box.

    The distance is looked at block by block first: where it says that the surface is far, no finer look is taken.

    Args:
        distance: float32 [n] at places float32 [n, 3]; negative inside.
        box: Lower and upper corner, [2, 3].
        resolution: Cells along the longest side.
    """
    from skimage.measure import marching_cubes

    cell = float((box[1] - box[0]).max()) / resolution
    blocks = np.maximum(1, np.ceil((box[1] - box[0]) / (cell * _BLOCK) - 1e-9)).astype(int)
    centres = np.stack(np.meshgrid(*[np.arange(n) + 0.5 for n in blocks], indexing="ij"), axis=-1)
    coarse = distance((box[0] + centres.reshape(-1, 3) * cell * _BLOCK).astype(np.float32)).reshape(blocks)
    near = np.argwhere(np.abs(coarse) < _REACH * np.sqrt(3) / 2 * _BLOCK * cell)
    # Vertices of a far block get the block's own value; near blocks overwrite the faces that they share with it.
    values = np.pad(
        np.repeat(np.repeat(np.repeat(coarse, _BLOCK, 0), _BLOCK, 1), _BLOCK, 2), ((0, 1),) * 3, mode="edge"
    )
    offsets = np.indices((_BLOCK + 1,) * 3).reshape(3, -1).T
    for begin in range(0, len(near), 256):
        places = near[begin : begin + 256, None] * _BLOCK + offsets
        flat = places.reshape(-1, 3)
        values[flat[:, 0], flat[:, 1], flat[:, 2]] = distance((box[0] + flat * cell).astype(np.float32))
    if not values.min() < 0 < values.max():
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    # Values that rise outward: "descent" turns the triangles' right-hand normals to where they are positive.
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="descent")
    return box[0] + vertices * cell, faces.astype(np.int64)


def sample_surface(vertices: np.ndarray, faces: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [count, 3]: points drawn evenly from the triangles."""
    corners = vertices[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    ends = np.cumsum(areas.astype(np.float64))
    chosen = np.searchsorted(ends, rng.uniform(0, ends[-1], count), side="right").clip(max=len(faces) - 1)
    a, b = np.sqrt(rng.uniform(0, 1, (count, 1))), rng.uniform(0, 1, (count, 1))
    p = corners[chosen]
    return ((1 - a) * p[:, 0] + a * (1 - b) * p[:, 1] + a * b * p[:, 2]).astype(np.float32)


def field_mesh(scene: NeuralField, config: MeshConfig) -> open3d.geometry.TriangleMesh:
    """The surface that a network describes, in world units; cleaned and reduced as meshes of other scenes.

    Raises:
        ConfigError: if the network is of a picture, or the resolution makes no sense.
        DataError: if it has no surface.
    """
    import open3d as o3d

    from scenerep.meshes.surface import finish

    if scene.subject != SURFACE:
        raise ConfigError(f"this network holds a {scene.subject}, no surface", "export a picture: name a file x.png")
    if not 8 <= config.resolution <= 1024:
        raise ConfigError(f"--mesh.resolution is {config.resolution}", "give 8 to 1024")
    network = network_of(scene)
    box = unit_places(scene.box, scene.box)
    vertices, faces = zero_level(lambda x: field_values(network, x)[:, 0], box, config.resolution)
    if len(faces) == 0:
        raise DataError("the network has no surface", "train it longer")
    half = unit_scale(scene.box)
    world = vertices * half + scene.box.mean(axis=0)
    mesh = o3d.geometry.TriangleMesh(o3d.utility.Vector3dVector(world), o3d.utility.Vector3iVector(faces))
    mesh.vertex_colors = o3d.utility.Vector3dVector(np.full((len(world), 3), 0.7))
    return finish(mesh, config)
