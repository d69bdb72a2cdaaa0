"""Truth, network and their difference side by side, for `eval`."""

from __future__ import annotations

from typing import Any

import numpy as np

from scenerep.evaluation.pictures import heat, to_uint8
from scenerep.implicit.evaluate import field_values, network_of
from scenerep.implicit.extract import zero_level
from scenerep.implicit.picture import PictureSubject, draw_picture
from scenerep.implicit.subjects import Subject
from scenerep.implicit.surface import SurfaceSubject
from scenerep.scenes import NeuralField, unit_places

_FULL_SCALE = 0.1  # error of a colour that is shown brightest
_DISTANCE_SCALE = 0.02
_SIDE, _GAP = 512, 8
_RESOLUTION = 224


def comparison(scene: NeuralField, subject: Subject) -> np.ndarray:
    """uint8 [h, w, 3]. Of a surface: shaded by its normals, the difference is that of the depths."""
    if isinstance(subject, PictureSubject):
        drawn = draw_picture(scene)
        error = np.abs(drawn - subject.pixels).mean(axis=2) / _FULL_SCALE
        parts = [to_uint8(subject.pixels), to_uint8(drawn), heat(error)]
    else:
        assert isinstance(subject, SurfaceSubject)
        network = network_of(scene)
        box = unit_places(scene.box, scene.box)
        surface = zero_level(lambda x: field_values(network, x)[:, 0], box, _RESOLUTION)
        truth, depth = _shaded(subject.vertices, subject.faces)
        drawn, other = _shaded(*surface)
        seen, found = np.isfinite(depth), np.isfinite(other)
        apart = np.abs(np.where(seen, depth, 0) - np.where(found, other, 0)) / _DISTANCE_SCALE
        error = np.where(seen & found, apart, seen != found)
        parts = [truth, drawn, heat(error)]
    gap = np.full((parts[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([parts[0], gap, parts[1], gap, parts[2]], axis=1)


def _shaded(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [s, s, 3], depth float32 [s, s], infinite beside it) seen from +z, parallel rays."""
    import open3d as o3d

    if len(faces) == 0:
        return np.full((_SIDE, _SIDE, 3), 255, np.uint8), np.full((_SIDE, _SIDE), np.inf, np.float32)
    tensor: Any = o3d.core.Tensor  # its constructor takes arrays, which its type stubs do not know
    casting: Any = o3d.t.geometry.RaycastingScene()
    casting.add_triangles(tensor(vertices.astype(np.float32)), tensor(np.ascontiguousarray(faces, np.uint32)))
    at = (np.arange(_SIDE) + 0.5) / _SIDE * 2 - 1
    x, y = np.meshgrid(at, -at)
    z = np.full_like(x, 2.0)
    down = np.broadcast_to(np.array([0.0, 0.0, -1.0]), (_SIDE, _SIDE, 3))
    rays = np.concatenate([np.stack([x, y, z], axis=-1), down], axis=-1).astype(np.float32)
    hit = casting.cast_rays(tensor(np.ascontiguousarray(rays)))
    depth, normals = hit["t_hit"].numpy(), hit["primitive_normals"].numpy()
    light = np.array([0.4, 0.5, 0.77], np.float32)
    shade = 0.2 + 0.8 * np.clip(normals @ light * np.sign(normals[..., 2]), 0, 1)
    return to_uint8(np.where(np.isfinite(depth), shade, 1.0)[..., None].repeat(3, axis=2)), depth
