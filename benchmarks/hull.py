"""Visual hulls: the largest shape that fits all silhouettes of a capture (Laurentini, PAMI 1994). A reference for
meshes where nobody has measured the object: nothing may stick out of it, but it fills what no silhouette shows, such as
a hollow. World axes and units: those of the capture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from scenerep.captures import Capture
from scenerep.geometry.cameras import Camera
from scenerep.geometry.layout import camera_layout


def silhouettes(capture: Capture, indices: Sequence[int], dark: int = 16) -> list[np.ndarray]:
    """bool [h, w] for each view: alpha of at least one half; without alpha, the largest part that
    is brighter than `dark` of 255, its small holes filled (the background of the capture must be dark; small: less than
    a thousandth of the picture, which are shadows; larger ones are gaps to look through)."""
    found = []
    for i in indices:
        image = capture.image(i)
        if image.shape[2] == 4:
            found.append(image[..., 3] >= 128)
            continue
        bright = ndimage.binary_opening(image.max(axis=2) > dark)
        labels, count = ndimage.label(bright)
        sizes = np.bincount(labels.reshape(-1), minlength=count + 1)
        sizes[0] = 0
        largest = labels == sizes.argmax()
        holes, count = ndimage.label(~largest)
        small = np.bincount(holes.reshape(-1), minlength=count + 1) < 1e-3 * largest.size
        small[0] = False
        found.append(largest | small[holes])
    return found


def visual_hull(
    cameras: Sequence[Camera], masks: Sequence[np.ndarray], resolution: int = 256
) -> tuple[np.ndarray, float]:
    """(float64 [m, 3] centres of the voxels at the surface, the voxels' side) of the hull, `resolution` voxels long."""
    focus, distance = camera_layout(cameras).focus, camera_layout(cameras).distance
    half = 0.5 * distance * max(max(c.width / c.fx, c.height / c.fy) for c in cameras)
    low, high = focus - half, focus + half
    coarse, step = _carve(cameras, masks, low, high, 96)
    points = low + (np.argwhere(coarse) + 0.5) * step
    low, high = points.min(axis=0) - 2 * step, points.max(axis=0) + 2 * step
    inside, step = _carve(cameras, masks, low, high, resolution)
    surface = inside & ~ndimage.binary_erosion(inside)
    return low + (np.argwhere(surface) + 0.5) * step, step


def _carve(
    cameras: Sequence[Camera], masks: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray, resolution: int
) -> tuple[np.ndarray, float]:
    """(bool [x, y, z] of voxels whose centres every silhouette holds, their side)."""
    step = float((high - low).max()) / resolution
    shape = tuple(np.maximum(1, np.ceil((high - low) / step).astype(int)))
    left = np.arange(int(np.prod(shape)))
    for camera, mask in zip(cameras, masks):
        kept = []
        for part in np.array_split(left, max(1, len(left) >> 20)):
            points = low + (np.stack(np.unravel_index(part, shape), axis=1) + 0.5) * step
            inside = points @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
            z = np.maximum(inside[:, 2], 1e-9)
            x = np.floor(camera.fx * inside[:, 0] / z + camera.cx)
            y = np.floor(camera.fy * inside[:, 1] / z + camera.cy)
            seen = (inside[:, 2] > 0) & (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
            seen[seen] = mask[y[seen].astype(int), x[seen].astype(int)]
            kept.append(part[seen])
        left = np.concatenate(kept)
    inside = np.zeros(shape, bool)
    inside.reshape(-1)[left] = True
    return inside, step
