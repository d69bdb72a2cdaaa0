"""Points from features matched under known poses: SIFT, matching along epipolar lines, triangulation.

Letters: pixel coordinates p [n, 2] in the pinhole picture; descriptors f [n, 128] of length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from scenerep.captures import Capture, View, load_picture
from scenerep.captures.resample import area_average, fit
from scenerep.cpus import usable_cpus
from scenerep.data_tools.tracks import build_points, plausible
from scenerep.geometry.cameras import Camera
from scenerep.geometry.distortion import pinhole, undistort

# A match may lie this far from the epipolar line: keypoints are good to half a pixel, poses of phones to about one.
_EPIPOLAR_PX = 1.5
# Lowe's ratio of distances. Only descriptors near the epipolar line compete, so a loose one is safe.
_RATIO = 0.8
# Where matches are this unlike (distance of unit vectors, 0..2), they are chance.
_MAX_DISTANCE = 0.75

# Pictures below this size are doubled before features are sought.
_SMALL = 640

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Features:
    """Keypoints of one view: pixels float64 [n, 2] and descriptors float32 [n, 128]."""

    pixels: np.ndarray
    descriptors: np.ndarray


def extract(view: View, side: int, limit: int) -> Features:
    """SIFT keypoints of a view's picture, reduced to `side` pixels; about the `limit` coarsest.

    Keypoints are found in the picture as taken, and only they are undistorted: `pixels` belong to the pinhole camera of
    that size. A low peak threshold finds weak corners too: with poses known, false ones fail the epipolar test.

    Raises:
        DataError: the picture is missing or broken.
    """
    import pycolmap

    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu = False
    options.num_threads = 1
    options.sift.max_num_features = limit
    options.sift.peak_threshold = 0.002
    options.sift.max_num_orientations = 1
    stored = view.camera
    camera = stored.resized(*fit(stored.width, stored.height, side))
    # Octave -1 doubles the picture first: four times the time, which only small pictures are worth.
    options.sift.first_octave = -1 if max(camera.width, camera.height) < _SMALL else 0
    image = load_picture(view.image, (stored.width, stored.height))
    grey = np.asarray(Image.fromarray(image[..., :3]).convert("L"))
    keypoints, descriptors = _sift(options, area_average(grey, camera.width, camera.height))
    descriptors = np.asarray(descriptors, dtype=np.float32)
    offset, focal = np.array([camera.cx, camera.cy]), np.array([camera.fx, camera.fy])
    pixels = undistort((keypoints[:, :2].astype(np.float64) - offset) / focal, stored.distortion) * focal + offset
    return Features(pixels, descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9))


def _sift(options, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints [n, 4] and descriptors [n, 128] of uint8 [h, w], by the class of this pycolmap; its log stays quiet."""
    import pycolmap

    pycolmap.logging.minloglevel = max(pycolmap.logging.minloglevel, 1)  # it reports every extractor on stderr
    if not hasattr(pycolmap, "FeatureExtractor"):  # up to 3.13
        return pycolmap.Sift(options, pycolmap.Device.cpu).extract(np.ascontiguousarray(grey))
    extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
    keypoints, descriptors = extractor.extract_from_uint8_array(np.ascontiguousarray(grey))
    return pycolmap.keypoints_to_matrix(keypoints), np.asarray(descriptors.data)


def nearby_pairs(cameras: Sequence[Camera], neighbours: int = 6, max_angle_deg: float = 60.0) -> list[tuple[int, int]]:
    """Pairs (i < j) of cameras that are close and look in about the same direction.

    Every second of the nearest is taken: direct neighbours of a video have hardly any parallax.
    """
    centres = np.stack([camera.centre for camera in cameras])
    axes = np.stack([camera.world_from_camera[:3, 2] for camera in cameras])
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    distance[axes @ axes.T < np.cos(np.radians(max_angle_deg))] = np.inf
    distance[distance < 1e-9] = np.inf
    np.fill_diagonal(distance, np.inf)
    pairs = set()
    for i, row in enumerate(distance):
        order = [int(j) for j in np.argsort(row, kind="stable") if np.isfinite(row[j])]
        # The nearest two, then every second
        chosen = (order[:2] + order[2::2])[:neighbours]
        pairs |= {(min(i, j), max(i, j)) for j in chosen}
    return sorted(pairs)


def match(a: Features, b: Features, camera_a: Camera, camera_b: Camera) -> np.ndarray:
    """Index pairs [m, 2] of features that agree both ways, among those near each other's epipolar line."""
    if len(a.pixels) < 2 or len(b.pixels) < 2:
        return np.empty((0, 2), dtype=np.int64)
    row, column = _near_lines(a.pixels, b.pixels, fundamental(camera_a, camera_b))
    if len(row) == 0:
        return np.empty((0, 2), dtype=np.int64)
    likeness = np.einsum("ij,ij->i", a.descriptors[row], b.descriptors[column])
    # `row` is sorted: each feature of `a` is a run of candidates.
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    run = np.cumsum(np.diff(row, prepend=-1) > 0) - 1
    first = np.maximum.reduceat(likeness, starts)
    best = likeness == first[run]
    second = np.maximum.reduceat(np.where(best, np.float32(-1), likeness), starts)
    best_for_b = np.full(len(b.pixels), np.float32(-2))
    np.maximum.at(best_for_b, column, likeness)
    near, far = (np.sqrt(np.maximum(2 - 2 * x, 0)) for x in (first, second))
    distinct = (near < _RATIO * far) & (near < _MAX_DISTANCE)
    good = best & (likeness == best_for_b[column]) & distinct[run]
    return np.stack([row[good], column[good]], axis=1)


def _near_lines(a: np.ndarray, b: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (row into a, sorted; column into b) of the pixels that lie near each other's epipolar line."""
    lines = np.append(a, np.ones((len(a), 1)), axis=1) @ f.T
    lines = (lines / np.maximum(np.linalg.norm(lines[:, :2], axis=1, keepdims=True), 1e-12)).astype(np.float32)
    u, v = b.T.astype(np.float32)
    rows, columns = [], []
    # Blocks that stay in the processor's cache. No matrix product: its own threads would fight with those of the pool.
    for start in range(0, len(a), 64):
        x, y, w = lines[start : start + 64, :, None].transpose(1, 0, 2)
        distance = x * u
        distance += y * v
        distance += w
        row, column = np.nonzero(np.abs(distance, out=distance) < _EPIPOLAR_PX)
        rows.append(row + start)
        columns.append(column)
    return np.concatenate(rows), np.concatenate(columns)


def fundamental(a: Camera, b: Camera) -> np.ndarray:
    """F [3, 3] with p_b^T F p_a = 0 for the pixels of one point in two pinhole pictures.

    Hartley and Zisserman, Multiple View Geometry, 2nd edition, eq. 9.2: F = [e']_x K' R K^-1 for known poses.
    """
    b_from_a = b.camera_from_world @ a.world_from_camera
    x, y, z = b_from_a[:3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.linalg.inv(b.intrinsics).T @ cross @ b_from_a[:3, :3] @ np.linalg.inv(a.intrinsics)


def triangulated(
    capture: Capture,
    indices: Sequence[int],
    *,
    side: int = 1280,
    features: int = 6000,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Points xyz [m, 3] and colours uint8 [m, 3] from the views `indices`, with their pictures reduced to `side`.

    A point is kept if two pixels that count (see `usable`) at least see it. Colours come from the pictures in the size
    of `capture`.
    """
    views = [capture.views[i] for i in indices]
    sizes = [fit(view.camera.width, view.camera.height, side) for view in views]
    cameras = [pinhole(view.camera).resized(*size) for view, size in zip(views, sizes)]

    pairs = nearby_pairs(cameras)
    with ThreadPoolExecutor(usable_cpus()) as pool:
        found = []
        for done, item in enumerate(pool.map(lambda view: extract(view, side, features), views), 1):
            found.append(item)
            if progress:
                progress("features", done, len(indices))
        matches = []
        jobs = pool.map(lambda ij: match(found[ij[0]], found[ij[1]], cameras[ij[0]], cameras[ij[1]]), pairs)
        for done, item in enumerate(jobs, 1):
            matches.append(item)
            if progress:
                progress("matching", done, len(pairs))
    seen = build_points(cameras, [item.pixels for item in found], pairs, matches)
    colours, count = np.zeros((len(seen.xyz), 3)), np.zeros(len(seen.xyz))
    for place, i in enumerate(indices):
        mine = np.flatnonzero(seen.view == place)
        image, use = capture.image(i), usable(capture, i)
        h, w = image.shape[:2]
        columns = np.clip((seen.pixel[mine, 0] * w / cameras[place].width).astype(int), 0, w - 1)
        rows = np.clip((seen.pixel[mine, 1] * h / cameras[place].height).astype(int), 0, h - 1)
        if use is not None:
            counts = use[rows, columns]
            mine, rows, columns = mine[counts], rows[counts], columns[counts]
        np.add.at(colours, seen.point[mine], image[rows, columns, :3])
        np.add.at(count, seen.point[mine], 1)
    good = (count >= 2) & plausible(seen)
    return seen.xyz[good], np.round(colours[good] / count[good, None]).astype(np.uint8)


def usable(capture: Capture, i: int) -> np.ndarray | None:
    """bool [h, w]: pixels of view i that count and are at least half opaque; None if all are."""
    image, mask = capture.image(i), capture.mask(i)
    if image.shape[2] == 4 and not (image[..., 3] >= 128).all():
        return image[..., 3] >= 128 if mask is None else mask & (image[..., 3] >= 128)
    return mask
