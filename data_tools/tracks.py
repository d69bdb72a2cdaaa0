"""From pairwise matches to points: which matches of a feature agree on one point, and where that point is.

Joining matches transitively is the usual way and fails here: with loose matches, wrong ones soon join everything to one
track. So every feature in turn takes its own direct matches only, keeps the largest set of them that agrees with one
point on its ray, and features that are explained by an earlier point are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from scenerep.geometry.cameras import Camera

# An observation may lie this far from the projected point. Keypoints are good to half a pixel, the poses of phone
# captures to about one.
_REPROJECTION_PX = 1.5
_MIN_ANGLE_DEG = 1.5
# A feature this near to the projection of a point is that point.
_SAME_PX = 1.0
# Points that three views and more agree on are hardly ever wrong; those of two views are, in one of three cases where
# patterns repeat. They are kept near the former: within the distance of the seventh neighbour there.
_SURE_VIEWS = 3
_NEIGHBOURS = 7


@dataclass(frozen=True)
class Observations:
    """Points xyz [m, 3] and the k pixels that see them: point [k] (index into xyz), view [k], pixel [k, 2]."""

    xyz: np.ndarray
    point: np.ndarray
    view: np.ndarray
    pixel: np.ndarray


def build_points(
    cameras: Sequence[Camera],
    pixels: Sequence[np.ndarray],
    pairs: Sequence[tuple[int, int]],
    matches: Sequence[np.ndarray],
) -> Observations:
    """Points from matches under known poses.

    Args:
        cameras: Pinhole cameras.
        pixels: [n_i, 2] of the features of each view.
        pairs: Views (i, j) that were matched.
        matches: For each pair, index pairs [m, 2] into the features of i and j.
    """
    rays = [_rays(camera, p) for camera, p in zip(cameras, pixels)]
    trees = [KDTree(p) if len(p) else None for p in pixels]
    covered = [np.zeros(len(p), dtype=bool) for p in pixels]
    of_view: list[list[tuple[int, np.ndarray]]] = [[] for _ in cameras]
    for (i, j), match in zip(pairs, matches):
        of_view[i].append((j, match))
        of_view[j].append((i, match[:, ::-1]))
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # point, view, feature
    count = 0
    for i, listed in enumerate(of_view):
        if not listed:
            continue
        own = np.concatenate([match[:, 0] for _, match in listed])
        other = np.concatenate([match[:, 1] for _, match in listed])
        view = np.concatenate([np.full(len(match), j) for j, match in listed])
        keep, distance = _agreeing(cameras, rays, pixels, i, own, view, other)
        keep &= ~covered[i][own]
        own, other, view = own[keep], other[keep], view[keep]
        reference, point = np.unique(own, return_inverse=True)
        found = rays[i][0][reference] + distance[reference, None] * rays[i][1][reference]
        for j in range(i + 1, len(cameras)):
            covered[j] |= _near(pixels[j], trees[j], cameras[j].project(found))
        numbers = np.arange(len(reference))
        parts.append((count + numbers, np.full(len(reference), i), reference))
        parts.append((count + point, view, other))
        count += len(reference)
    if count == 0:
        none = np.empty(0, dtype=np.int64)
        return Observations(np.empty((0, 3)), none, none, np.empty((0, 2)))
    point, view, feature = (np.concatenate(items) for items in zip(*parts))
    start = np.cumsum([0] + [len(p) for p in pixels])
    row = start[view] + feature
    o, d = (np.concatenate([ray[k] for ray in rays])[row] for k in (0, 1))
    focal = np.array([np.sqrt(camera.fx * camera.fy) for camera in cameras])[view]
    xyz = _nearest_to_rays(count, point, o, d)
    good = _check(xyz, point, o, d, focal)
    keep = good[point]
    number = np.cumsum(good) - 1
    return Observations(xyz[good], number[point[keep]], view[keep], np.concatenate(list(pixels))[row[keep]])


def plausible(seen: Observations) -> np.ndarray:
    """bool [m]: points that three views agree on, and points of two views that lie among those."""
    views = np.bincount(seen.point, minlength=len(seen.xyz))
    sure = views >= _SURE_VIEWS
    if sure.sum() <= _NEIGHBOURS:
        return np.ones(len(seen.xyz), dtype=bool)  # too few to judge by
    tree = KDTree(seen.xyz[sure])
    spacing = np.asarray(tree.query(seen.xyz[sure], k=_NEIGHBOURS)[0])[:, -1]
    distance, nearest = tree.query(seen.xyz)
    return sure | (distance <= spacing[np.asarray(nearest)])


def _rays(camera: Camera, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    plane = (pixels - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    d = np.concatenate([plane, np.ones((len(plane), 1))], axis=1) @ camera.world_from_camera[:3, :3].T
    return np.broadcast_to(camera.centre, d.shape), d / np.linalg.norm(d, axis=1, keepdims=True)


def _near(pixels: np.ndarray, tree: KDTree | None, projected: np.ndarray) -> np.ndarray:
    """bool [n]: the features onto which one of the points (u, v, z) [m, 3] falls: they need no point of their own."""
    near = np.zeros(len(pixels), dtype=bool)
    uv = projected[projected[:, 2] > 0, :2]
    if tree is not None and len(uv):
        distance, index = tree.query(uv, distance_upper_bound=_SAME_PX)
        near[np.asarray(index)[np.isfinite(distance)]] = True
    return near


def _agreeing(cameras, rays, pixels, i: int, own, view, other) -> tuple[np.ndarray, np.ndarray]:
    """The matches of view i that agree with the point on their feature's ray that most of them support: bool [k]; and
    that point's distance along the ray, for each feature of the view."""
    if len(own) == 0:
        return np.zeros(0, dtype=bool), np.zeros(len(pixels[i]))
    o, d = (ray[own] for ray in rays[i])
    start = np.cumsum([0] + [len(p) for p in pixels])
    row = start[view] + other
    o2, d2 = (np.concatenate([ray[k] for ray in rays])[row] for k in (0, 1))
    focal = np.array([np.sqrt(camera.fx * camera.fy) for camera in cameras])[view]
    # Distance along the feature's ray at which it passes the other ray
    b, w = (d * d2).sum(axis=1), o2 - o
    s = ((d * w).sum(axis=1) - b * (d2 * w).sum(axis=1)) / np.maximum(1 - b * b, 1e-12)
    order = np.lexsort((view, own))
    first = np.concatenate([[True], np.diff(own[order]) > 0])
    rank = np.empty(len(own), dtype=np.int64)
    rank[order] = np.arange(len(own)) - np.maximum.accumulate(np.where(first, np.arange(len(own)), 0))
    features = len(pixels[i])
    best, best_votes, distance = np.zeros(len(own), dtype=bool), np.zeros(features), np.zeros(features)
    for r in range(int(rank.max()) + 1):  # the point that the r-th match proposes
        proposed = np.full(features, np.nan)
        proposed[own[rank == r]] = s[rank == r]
        point = o + proposed[own][:, None] * d
        agrees = (proposed[own] > 0) & (_error_px(point, o2, d2, focal) < _REPROJECTION_PX)
        votes = np.bincount(own[agrees], minlength=features).astype(float)
        better = votes > best_votes
        best_votes, distance = np.where(better, votes, best_votes), np.where(better, proposed, distance)
        best = np.where(better[own], agrees, best)
    return best, distance


def _error_px(points, o, d, focal) -> np.ndarray:
    """Distance of points [k, 3] from rays, in pixels about; infinite behind the camera."""
    to_point = points - o
    along = (to_point * d).sum(axis=1)
    off = np.linalg.norm(to_point - along[:, None] * d, axis=1)
    return np.where(along > 0, focal * off / np.where(along > 0, along, 1), np.inf)


def _nearest_to_rays(count: int, point, o, d) -> np.ndarray:
    """[count, 3] the points nearest, in least squares, to their rays."""
    off_axis = np.eye(3) - d[:, :, None] * d[:, None, :]
    left, right = np.zeros((count, 3, 3)), np.zeros((count, 3))
    np.add.at(left, point, off_axis)
    np.add.at(right, point, np.einsum("nij,nj->ni", off_axis, o))
    # A little damping keeps parallel rays solvable; such points fail the angle afterwards.
    return np.linalg.solve(left + 1e-9 * np.eye(3), right[..., None])[..., 0]


def _check(xyz, point, o, d, focal) -> np.ndarray:
    """bool [m]: points near all their rays, which meet at a sufficient angle."""
    good = np.bincount(point, minlength=len(xyz)) >= 2
    good[point[_error_px(xyz[point], o, d, focal) >= _REPROJECTION_PX]] = False
    mean = np.zeros_like(xyz)
    np.add.at(mean, point, d)
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    angle = np.zeros(len(xyz))
    # Twice the largest angle to the mean direction: exact for two rays, near enough for more
    np.maximum.at(angle, point, 2 * np.degrees(np.arccos(np.clip((mean[point] * d).sum(axis=1), -1, 1))))
    return good & (angle >= _MIN_ANGLE_DEG)
