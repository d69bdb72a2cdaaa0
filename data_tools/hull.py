"""Points without matches: inside the masks' hull, from depth maps, or at random where cameras look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scenerep.captures import Capture
from scenerep.data_tools.matching import usable
from scenerep.geometry.poses import focus_point


def has_masks(capture: Capture, indices: Sequence[int]) -> bool:
    """Whether the pictures are cut out: each of the first few has transparent pixels."""
    few = list(indices)[:3]
    return all(capture.image(i).shape[2] == 4 and (capture.image(i)[..., 3] < 128).any() for i in few)


def inside_hull(
    capture: Capture, indices: Sequence[int], xyz: np.ndarray, *, misses: int = 0, seen_by: int = 2
) -> np.ndarray:
    """bool [n]: points that are opaque in all views that see them, but for `misses`, and seen by `seen_by` at least.

    A pixel of slack around each silhouette allows for the error of poses and of triangulation.
    """
    missed = np.zeros(len(xyz), dtype=int)
    seen = np.zeros(len(xyz), dtype=int)
    for i in indices:
        silhouette = usable(capture, i)
        if silhouette is None:
            continue
        camera = capture.camera(i)
        p = camera.project(xyz)
        inside = (p[:, 2] > 0) & (p[:, 0] >= 0) & (p[:, 0] < camera.width) & (p[:, 1] >= 0) & (p[:, 1] < camera.height)
        rows, columns = p[inside, 1].astype(int), p[inside, 0].astype(int)
        missed[inside] += ~_grown(silhouette)[rows, columns]
        seen += inside
    return (missed <= misses) & (seen >= min(seen_by, len(indices)))


def hull_points(capture: Capture, indices: Sequence[int], count: int, rng: np.random.Generator) -> np.ndarray:
    """[n <= count, 3] random points inside the visual hull of the silhouettes (Laurentini, PAMI 1994)."""
    centre, reach = _focus(capture, indices)
    low, high = centre - reach, centre + reach
    points = np.empty((0, 3))
    # Half of the views must see a point: few silhouettes leave long spikes outside the others' frames.
    # The first rounds find the box of the object, the later ones fill it.
    for _ in range(12):
        tried = rng.uniform(low, high, (100_000, 3))
        found = tried[inside_hull(capture, indices, tried, seen_by=max(2, len(indices) // 2))]
        points = np.concatenate([points, found])
        if len(found) > 50:
            margin = 0.1 * (found.max(axis=0) - found.min(axis=0))
            low, high = np.maximum(low, found.min(axis=0) - margin), np.minimum(high, found.max(axis=0) + margin)
        if len(points) >= 4 * count:
            break
    chosen = rng.permutation(len(points))[:count]
    return points[chosen]


def random_points(capture: Capture, indices: Sequence[int], count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, 3] points on random rays around the distance at which the cameras look; denser near the cameras.

    Those that several views see are preferred; the rest only fills up.
    """
    cameras = [capture.camera(i) for i in indices]
    centre, _ = _focus(capture, indices)
    depths = np.array([(centre - c.centre) @ c.world_from_camera[:3, 2] for c in cameras])
    # Cameras side by side have no common point in front; the size of their ring is the only length there is.
    typical = float(np.median(depths)) if np.median(depths) > 0 else capture.scene_scale
    tried = 4 * count
    view = rng.integers(0, len(cameras), tried)
    depth = typical * np.exp(rng.uniform(np.log(0.4), np.log(2.5), tried))
    uv = rng.uniform(0, 1, (tried, 2))
    xyz = np.empty((tried, 3))
    for k, camera in enumerate(cameras):
        mine = view == k
        xyz[mine] = _unproject(camera, uv[mine] * [camera.width, camera.height], depth[mine])
    seen = np.zeros(tried, dtype=int)
    for camera in cameras:
        p = camera.project(xyz)
        seen += (p[:, 2] > 0) & (p[:, 0] >= 0) & (p[:, 0] < camera.width) & (p[:, 1] >= 0) & (p[:, 1] < camera.height)
    order = np.argsort(-np.minimum(seen, max(2, len(cameras) // 4)), kind="stable")
    return xyz[order[:count]]


def depth_points(
    capture: Capture, indices: Sequence[int], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """xyz [n <= count, 3] and colours uint8 [n, 3] at random pixels of known depth, as many from each view."""
    xyz, rgb = [], []
    share = -(-count // max(len(indices), 1))
    for i in indices:
        depth, camera, use = capture.depth(i), capture.camera(i), usable(capture, i)
        if depth is None:
            continue
        rows, columns = np.nonzero(depth > 0 if use is None else (depth > 0) & use)
        chosen = rng.permutation(len(rows))[:share]
        rows, columns = rows[chosen], columns[chosen]
        pixels = np.stack([columns + 0.5, rows + 0.5], axis=1)
        xyz.append(_unproject(camera, pixels, depth[rows, columns].astype(np.float64)))
        rgb.append(capture.image(i)[rows, columns, :3])
    if not xyz:
        return np.empty((0, 3)), np.empty((0, 3), dtype=np.uint8)
    return np.concatenate(xyz)[:count], np.concatenate(rgb)[:count]


def colours(capture: Capture, indices: Sequence[int], xyz: np.ndarray) -> np.ndarray:
    """uint8 [n, 3]: the mean of the opaque pixels onto which each point falls, grey where there are none."""
    total, seen = np.zeros((len(xyz), 3)), np.zeros(len(xyz))
    for i in indices:
        camera, image, use = capture.camera(i), capture.image(i), usable(capture, i)
        p = camera.project(xyz)
        inside = np.flatnonzero(
            (p[:, 2] > 0) & (p[:, 0] >= 0) & (p[:, 0] < camera.width) & (p[:, 1] >= 0) & (p[:, 1] < camera.height)
        )
        rows, columns = p[inside, 1].astype(int), p[inside, 0].astype(int)
        if use is not None:
            opaque = use[rows, columns]
            inside, rows, columns = inside[opaque], rows[opaque], columns[opaque]
        total[inside] += image[rows, columns, :3]
        seen[inside] += 1
    mean = np.where(seen[:, None] > 0, total / np.maximum(seen, 1)[:, None], 128)
    return np.round(mean).astype(np.uint8)


def _focus(capture: Capture, indices: Sequence[int]) -> tuple[np.ndarray, float]:
    """The point where the cameras look, and the half width of the cube around it that the widest view spans."""
    cameras = [capture.camera(i) for i in indices]
    centre = focus_point(cameras)
    reach = [np.linalg.norm(c.centre - centre) * max(c.width / c.fx, c.height / c.fy) / 2 * np.sqrt(2) for c in cameras]
    return centre, float(max(np.max(reach), 1e-6))


def _unproject(camera, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    plane = (pixels - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    local = np.concatenate([plane, np.ones((len(plane), 1))], axis=1) * depth[:, None]
    return local @ camera.world_from_camera[:3, :3].T + camera.centre


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its direct neighbours."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out
