"""How the cameras of a capture stand: what they look at, which way is up, whether they go all around.

c = camera centres [n, 3], d = viewing directions [n, 3] (unit), u = up [3] (unit), all in world axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import focus_point, look_at

Kind = Literal["around", "partial", "outward"]

# Cameras that leave out more than this angle do not go around: nobody has seen the scene from the gap.
_LARGEST_GAP = np.radians(135.0)
# Length of the mean viewing direction above which all cameras look the same way (directions within some 50 degrees).
_SAME_WAY = 0.85
# Smallest eigenvalue of mean (I - d d^T), a mean square angle: below 2 degrees the point where axes cross is noise.
_PARALLEL = np.radians(2.0) ** 2


@dataclass(frozen=True)
class Layout:
    """focus [3]: what the cameras look at. up [3]: unit vector. kind: `around` the focus, `partial` (an arc or a wall
    of cameras on one side), or `outward` (from the middle of a room). distance: median from a camera to the focus."""

    focus: np.ndarray
    up: np.ndarray
    kind: Kind
    distance: float


def level_look_at(position: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """`poses.look_at`, also where the camera looks straight along `up`: there any side serves as right."""
    forward = _unit(np.asarray(target, np.float64) - position)
    if np.linalg.norm(np.cross(forward, up)) < 1e-6:
        up = np.eye(3)[np.argmin(np.abs(forward))]
    return look_at(position, target, up)


def up_vector(cameras: Sequence[Camera]) -> np.ndarray:
    """[3] unit vector: the mean up of the pictures, corrected so that the pictures' right sides are level.

    A tilted camera's up leans, but its right side stays level unless somebody rolled the camera. So u minimises
    mean (u . x_i)^2 + 0.01 |u - m|^2, x_i right sides, m mean up: where the x_i point in many directions they decide.
    """
    poses = np.stack([camera.world_from_camera[:3, :3] for camera in cameras])
    x, y, z = poses[:, :, 0], poses[:, :, 1], poses[:, :, 2]
    # Cameras that look straight down in all directions have no mean up of their own: then up is where they come from.
    mean = -y.mean(axis=0) - 1e-3 * z.mean(axis=0)
    return _unit(np.linalg.solve(x.T @ x / len(x) + 0.01 * np.eye(3), mean))


def camera_layout(cameras: Sequence[Camera], points: np.ndarray | None = None) -> Layout:
    """Look at how cameras stand.

    Args:
        cameras: At least one.
        points: [m, 3] points of the scene; they tell the distance where the optical axes are too parallel to cross.
    """
    c, d = _centres(cameras), _directions(cameras)
    up = up_vector(cameras)
    mean_direction = d.mean(axis=0)
    across = np.eye(3) - (d[:, :, None] * d[:, None, :]).mean(axis=0)
    crossing = None if np.linalg.eigvalsh(across)[0] < _PARALLEL else focus_point(cameras)
    in_front = crossing is not None and float(np.mean(np.sum((crossing - c) * d, axis=1) > 0)) > 0.5
    if crossing is not None and in_front:
        focus = crossing
    elif np.linalg.norm(mean_direction) > _SAME_WAY or crossing is None:
        distance = _points_distance(cameras, points)
        if distance is None:  # a guess that keeps the whole row of cameras in proportion
            distance = 3.0 * float(np.linalg.norm(c - c.mean(axis=0), axis=1).max()) or 1.0
        focus = c.mean(axis=0) + _unit(mean_direction) * distance
    else:
        middle = c.mean(axis=0)
        return Layout(middle, up, "outward", float(np.median(np.linalg.norm(c - middle, axis=1))))
    start, stop = azimuth_range(azimuths(c - focus, up))
    kind: Kind = "around" if stop - start > 2 * np.pi - _LARGEST_GAP else "partial"
    return Layout(focus, up, kind, float(np.median(np.linalg.norm(c - focus, axis=1))))


def horizontal_axes(up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors [3] across `up` and each other; azimuth 0 is the first, 90 degrees the second."""
    first = _unit(np.cross(up, np.eye(3)[np.argmin(np.abs(up))]))
    return first, np.cross(up, first)


def azimuths(offsets: np.ndarray, up: np.ndarray) -> np.ndarray:
    """[n] angles around `up` of offsets [n, 3], in radians."""
    first, second = horizontal_axes(up)
    return np.arctan2(offsets @ second, offsets @ first)


def azimuth_range(angles: np.ndarray) -> tuple[float, float]:
    """(start, stop) of the arc that holds all angles [n] and leaves out their largest gap; stop >= start, radians."""
    ordered = np.sort(np.mod(angles, 2 * np.pi))
    gaps = np.diff(np.append(ordered, ordered[0] + 2 * np.pi))
    widest = int(np.argmax(gaps))
    start = float(ordered[(widest + 1) % len(ordered)])
    return start, start + max(0.0, 2 * np.pi - float(gaps[widest]))


def typical_lens(cameras: Sequence[Camera]) -> Camera:
    """The camera with the median field of view, without distortion, principal point in the middle, pose identity."""
    order = sorted(cameras, key=lambda camera: camera.fx / camera.width)
    middle = order[len(order) // 2]
    return Camera(middle.fx, middle.fy, middle.width / 2, middle.height / 2, middle.width, middle.height)


def surrounding_cameras(points: np.ndarray, width: int = 960, height: int = 540) -> list[Camera]:
    """A ring of cameras around points [m, 3] for a scene that came without any; up is -y, as COLMAP worlds mostly are.

    The ring holds the sphere that 90 % of the points lie in, so that a few strays do not push it away.
    """
    points = np.asarray(points, np.float64)
    if len(points) == 0:
        points = np.zeros((1, 3))
    middle = np.median(points, axis=0)
    radius = float(np.quantile(np.linalg.norm(points - middle, axis=1), 0.9)) or 1.0
    focal = 0.9 * height
    distance = 1.15 * radius * np.hypot(1.0, 2 * focal / height)  # the sphere touches the upper and lower edges
    elevation = np.radians(20.0)
    cameras = []
    for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
        level = np.cos(elevation) * np.array([np.sin(angle), 0.0, -np.cos(angle)])
        position = middle + distance * (level - np.sin(elevation) * np.array([0.0, 1.0, 0.0]))
        pose = level_look_at(position, middle, np.array([0.0, -1.0, 0.0]))
        cameras.append(Camera(focal, focal, width / 2, height / 2, width, height, pose))
    return cameras


def _points_distance(cameras: Sequence[Camera], points: np.ndarray | None) -> float | None:
    """Median depth of the points that the cameras see, or None if they see none."""
    if points is None or len(points) == 0:
        return None
    sample = np.asarray(points, np.float64)[:: max(1, len(points) // 4000)]
    depths = []
    for camera in cameras:
        u, v, z = camera.project(sample).T
        seen = (z > 0) & (u > 0) & (u < camera.width) & (v > 0) & (v < camera.height)
        if seen.any():
            depths.append(np.median(z[seen]))
    return float(np.median(depths)) if depths else None


def _centres(cameras: Sequence[Camera]) -> np.ndarray:
    return np.stack([camera.centre for camera in cameras]).astype(np.float64)


def _directions(cameras: Sequence[Camera]) -> np.ndarray:
    return np.stack([camera.world_from_camera[:3, 2] for camera in cameras]).astype(np.float64)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
