"""Where a voxel grid is put: the box of the object, or of what the cameras look at.

Scene bounds decide the quality: voxels beside the object are voxels wasted, and one that is larger than a pixel blurs.
"""

from __future__ import annotations

import numpy as np

from scenerep.captures import Capture
from scenerep.geometry.layout import camera_layout
from scenerep.voxels.space import Space

_CARVE = 64  # points along each side of the cube that silhouettes are carved out of
_VIEWS = 40
_SEEN = 0.6  # of the views that see the best seen cell: what few see is not what they look at
_MARGIN = 1.5  # carved cells around the object


def find_space(capture: Capture, resolution: int, *, bounded: bool, multiple: int = 1) -> Space:
    """The grid's place in the world.

    Args:
        resolution: Voxels along the side of a cube of the grid's volume.
        bounded: A box around the object (from silhouettes where there are any); otherwise a box of what the cameras
            look at, with the surroundings contracted around it.
        multiple: Of which the number of cells along each side is one; the box grows for it.
    """
    box = _object_box(capture) if bounded else _inner_box(capture)
    sides = box[1] - box[0]
    voxel = np.prod(sides) ** (1 / 3) / resolution
    cells = np.maximum(1, np.ceil(sides / voxel / multiple).astype(int)) * multiple
    middle = box.mean(axis=0)
    box = np.stack([middle - cells * voxel / 2, middle + cells * voxel / 2])
    nx, ny, nz = (int(n) + 1 for n in cells)
    return Space((nx, ny, nz), box, contracted=not bounded)


def silhouette(capture: Capture, view: int) -> np.ndarray | None:
    """bool [h, w], True where the object may be; None if the view has neither alpha nor a mask."""
    image, mask = capture.image(view), capture.mask(view)
    if image.shape[2] == 4:
        inside = image[..., 3] > 0
        return inside if mask is None else inside & mask
    return mask if capture.views[view].mask is not None else None


def _inner_box(capture: Capture) -> np.ndarray:
    cameras = [capture.camera(i) for i in range(len(capture))]
    points = None if capture.points is None else capture.points.xyz
    layout = camera_layout(cameras, points)
    half = 0.6 * layout.distance
    if layout.kind == "outward":  # a room: the box holds the cameras, the walls lie in the shell's near part
        half = max(2.0 * layout.distance, 1e-3)
    if points is not None and len(points) > 50:
        reach = np.abs(points - layout.focus).max(axis=1)
        half = float(np.clip(np.percentile(reach, 60), 0.5 * half, 1.5 * half))
    return np.stack([layout.focus - half, layout.focus + half])


def _object_box(capture: Capture) -> np.ndarray:
    """Box of the silhouettes' hull; without any, of the sparse points; without both, of what the cameras look at."""
    cameras = [capture.camera(i) for i in capture.train]
    layout = camera_layout(cameras)
    around = np.stack([layout.focus - layout.distance, layout.focus + layout.distance])
    for _ in range(2):  # the second time with the first result's finer cells
        found = _carved(capture, around)
        if found is None:
            break
        around = found
    else:
        return around
    if capture.points is not None and len(capture.points) > 50:
        low, high = np.percentile(capture.points.xyz, [0.5, 99.5], axis=0)
        margin = 0.05 * (high - low).max()
        return np.stack([low - margin, high + margin]).astype(np.float64)
    return _inner_box(capture)


def _carved(capture: Capture, box: np.ndarray) -> np.ndarray | None:
    """Box of the cells that most views see, and that all of those hold for object; None without any, or silhouettes."""
    sides = [np.linspace(box[0, k], box[1, k], _CARVE) for k in range(3)]
    points = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
    kept, seen = np.ones(len(points), bool), np.zeros(len(points), int)
    views = capture.train[:: max(1, len(capture.train) // _VIEWS)]
    for view in views:
        inside = silhouette(capture, view)
        if inside is None:
            return None
        camera = capture.camera(view)
        # A cell is as large as several pixels, so a cell whose centre just misses the silhouette may still hold some.
        cell = float((box[1] - box[0]).max()) / _CARVE
        u, v, z = camera.project(points).T
        reach = int(np.ceil(camera.fx * cell / max(float(np.median(np.abs(z))), 1e-9)))
        grown = _grown(inside, reach)
        ahead = (z > 0) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
        seen += ahead
        hit = np.zeros(len(points), bool)
        hit[ahead] = grown[v[ahead].astype(int), u[ahead].astype(int)]
        kept &= hit | ~ahead
    found = points[kept & (seen > _SEEN * seen.max())]
    if len(found) == 0:
        return None
    margin = _MARGIN * (box[1] - box[0]) / (_CARVE - 1)
    return np.stack([found.min(axis=0) - margin, found.max(axis=0) + margin])


def _grown(inside: np.ndarray, reach: int) -> np.ndarray:
    """The mask widened by `reach` pixels (a square)."""
    from scipy.ndimage import maximum_filter

    return maximum_filter(inside, size=2 * reach + 1) if reach > 0 else inside
