"""Camera paths for videos: orbit, spiral, and interpolation through given cameras.

Each takes the cameras of a capture and gives `frames` cameras with their typical lens. They stay where the capture's
cameras were: from anywhere else one sees what was never photographed. t in [0, 1) is the share of the path so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scenerep.errors import ConfigError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.layout import (
    Layout,
    azimuth_range,
    azimuths,
    camera_layout,
    horizontal_axes,
    level_look_at,
    typical_lens,
)
from scenerep.geometry.quaternions import quaternion_from_rotation, rotation_from_quaternion

# Share of the photographed range that a swinging path uses: its ends are seen from one side only.
_SHARE = 0.8
_FRAMES_PER_KEY = 12


def orbit(cameras: Sequence[Camera], frames: int, points: np.ndarray | None = None) -> list[Camera]:
    """A closed loop at the cameras' own distance and height, looking at what they look at.

    All around where the cameras go around. On one side only, it swings within their arc and up and down a little, an
    ellipse as seen from the focus. In a room photographed from the middle it turns and looks outwards.

    Args:
        cameras: Of the capture, at least one.
        frames: Number of pictures, at least one.
        points: [m, 3] points of the scene, see `camera_layout`.
    """
    _check(cameras, frames)
    lens, layout = typical_lens(cameras), camera_layout(cameras, points)
    t = np.arange(frames) / frames
    if layout.kind == "outward":
        rise = float(np.mean([camera.world_from_camera[:3, 2] @ layout.up for camera in cameras]))
        return _look_around(lens, cameras, layout, t, np.full(frames, rise))
    centres = np.stack([camera.centre for camera in cameras])
    offsets = centres - layout.focus
    own = azimuths(offsets, layout.up)
    height = offsets @ layout.up
    radius = np.linalg.norm(offsets - height[:, None] * layout.up, axis=1)
    if layout.kind == "around":
        azimuth = own[0] + 2 * np.pi * t
        width, lift = np.radians(25.0), np.zeros(frames)
    else:
        start, stop = azimuth_range(own)
        azimuth = (start + stop) / 2 + _SHARE * (stop - start) / 2 * np.sin(2 * np.pi * t)
        width = max((stop - start) / 5, 1e-3)
        # A row of cameras at one height has no height range to use; a little up and down still shows the depth.
        spread = float(np.std(height - _smooth(own, height, own, width)))
        swing = _SHARE * (stop - start) / 2 * float(np.median(radius))
        lift = max(spread, 0.15 * swing) * np.cos(2 * np.pi * t)
    radii = _smooth(own, radius, azimuth, width)
    heights = _smooth(own, height, azimuth, width) + lift
    return [_seen_from(lens, layout, a, r, h) for a, r, h in zip(azimuth, radii, heights)]


def spiral(cameras: Sequence[Camera], frames: int, points: np.ndarray | None = None) -> list[Camera]:
    """Two turns. Around the scene: a helix from the lower cameras to the higher ones and back; in a room, outwards. On
    one side only: the spiral of LLFF (arXiv 1905.00889), around the mean camera, as wide as the cameras stand.
    """
    _check(cameras, frames)
    lens, layout = typical_lens(cameras), camera_layout(cameras, points)
    t = np.arange(frames) / frames
    centres = np.stack([camera.centre for camera in cameras])
    if layout.kind == "around":
        offsets = centres - layout.focus
        elevations = np.arcsin(np.clip(offsets @ layout.up / np.linalg.norm(offsets, axis=1), -1, 1))
        low, high = np.quantile(elevations, [0.1, 0.9])
        elevation = low + (high - low) * (0.5 - 0.5 * np.cos(2 * np.pi * t))
        azimuth = azimuths(offsets[:1], layout.up)[0] + 4 * np.pi * t
        r, h = layout.distance * np.cos(elevation), layout.distance * np.sin(elevation)
        return [_seen_from(lens, layout, *part) for part in zip(azimuth, r, h)]
    if layout.kind == "outward":
        rises = np.array([camera.world_from_camera[:3, 2] @ layout.up for camera in cameras])
        low, high = np.quantile(rises, [0.1, 0.9])
        return _look_around(lens, cameras, layout, 2 * t, low + (high - low) * (0.5 - 0.5 * np.cos(2 * np.pi * t)))
    middle = centres.mean(axis=0)
    frame = level_look_at(middle, layout.focus, layout.up)[:3, :3]
    extent = np.quantile(np.abs((centres - middle) @ frame), 0.75, axis=0)
    turn = 4 * np.pi * t
    local = extent * np.stack([np.cos(turn), -np.sin(turn), -np.sin(turn / 2)], axis=1)
    poses = [level_look_at(position, layout.focus, layout.up) for position in middle + local @ frame.T]
    return [replace(lens, world_from_camera=pose) for pose in poses]


def interpolate(cameras: Sequence[Camera], frames: int) -> list[Camera]:
    """A smooth flight through the cameras: Catmull-Rom in the centres, the quaternions and the focal lengths.

    The cameras are taken in the given order, or from neighbour to neighbour if that is less than half as long (pictures
    in no order). With many cameras, every so many of them are keys, so that the flight stays calm. Speed is even.
    """
    _check(cameras, frames)
    cameras = _calm_order(cameras)
    keys = min(len(cameras), max(2, frames // _FRAMES_PER_KEY + 1))
    chosen = [cameras[i] for i in np.unique(np.linspace(0, len(cameras) - 1, keys).round().astype(int))]
    if len(chosen) == 1:
        return [replace(typical_lens(cameras), world_from_camera=chosen[0].world_from_camera)] * frames
    centres = np.stack([camera.centre for camera in chosen])
    quats = np.stack([quaternion_from_rotation(camera.world_from_camera[:3, :3]) for camera in chosen])
    for i in range(1, len(quats)):  # q and -q are one rotation: take the nearer
        if quats[i] @ quats[i - 1] < 0:
            quats[i] = -quats[i]
    lens = typical_lens(cameras)
    focal = np.array([camera.fx / camera.width * lens.width for camera in chosen])
    turned = 2 * np.arccos(np.clip(np.abs(np.sum(quats[1:] * quats[:-1], axis=1)), 0, 1))
    moved = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    # A radian of turning takes as long as the typical way between two cameras at half a radian to each other.
    steps = np.hypot(moved, turned * 2 * float(np.median(moved))) + 1e-9
    knots = np.append(0.0, np.cumsum(steps))
    at = np.linspace(0.0, knots[-1], frames)
    position = _catmull_rom(knots, centres, at)
    rotation = _catmull_rom(knots, quats, at)
    focals = _catmull_rom(knots, focal[:, None], at)[:, 0]
    out = []
    for p, q, f in zip(position, rotation, focals):
        pose = np.eye(4)
        pose[:3, :3] = rotation_from_quaternion(q)
        pose[:3, 3] = p
        out.append(replace(lens, fx=f, fy=f * lens.fy / lens.fx, world_from_camera=pose))
    return out


def _check(cameras: Sequence[Camera], frames: int) -> None:
    if len(cameras) == 0:
        raise ConfigError("a camera path needs at least one camera to start from")
    if frames < 1:
        raise ConfigError(f"frames={frames} is not a number of pictures", "use 1 or more")


def _seen_from(lens: Camera, layout: Layout, azimuth: float, radius: float, height: float) -> Camera:
    first, second = horizontal_axes(layout.up)
    level = np.cos(azimuth) * first + np.sin(azimuth) * second
    position = layout.focus + radius * level + height * layout.up
    return replace(lens, world_from_camera=level_look_at(position, layout.focus, layout.up))


def _look_around(
    lens: Camera, cameras: Sequence[Camera], layout: Layout, t: np.ndarray, rise: np.ndarray
) -> list[Camera]:
    """From near the middle outwards; `rise` [frames] is the sine of the angle above the horizon."""
    directions = np.stack([camera.world_from_camera[:3, 2] for camera in cameras])
    start, stop = azimuth_range(azimuths(directions, layout.up))
    if stop - start > 1.5 * np.pi:
        angles = start + 2 * np.pi * t
    else:
        angles = (start + stop) / 2 + _SHARE * (stop - start) / 2 * np.sin(2 * np.pi * t)
    first, second = horizontal_axes(layout.up)
    out = []
    for angle, up_part in zip(angles, rise):
        level = np.cos(angle) * first + np.sin(angle) * second
        position = layout.focus + 0.5 * layout.distance * level
        forward = level * np.sqrt(max(1 - up_part**2, 0.0)) + up_part * layout.up
        out.append(replace(lens, world_from_camera=level_look_at(position, position + forward, layout.up)))
    return out


def _smooth(angles: np.ndarray, values: np.ndarray, at: np.ndarray, width: float) -> np.ndarray:
    """Weighted mean of `values` [n] near each angle of `at` [m]; `width` in radians is the Gaussian's sigma."""
    apart = np.angle(np.exp(1j * (at[:, None] - angles[None, :])))
    # The small constant lets the overall mean decide where no camera is near.
    weights = np.exp(-0.5 * (apart / width) ** 2) + 1e-6
    return (weights @ values) / weights.sum(axis=1)


def _calm_order(cameras: Sequence[Camera]) -> Sequence[Camera]:
    centres = np.stack([camera.centre for camera in cameras])
    order, left = [0], set(range(1, len(cameras)))
    while left:
        nearest = min(left, key=lambda i: float(np.sum((centres[i] - centres[order[-1]]) ** 2)))
        order.append(nearest)
        left.remove(nearest)

    def length(path: np.ndarray) -> float:
        return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())

    return [cameras[i] for i in order] if 2 * length(centres[order]) < length(centres) else cameras


def _catmull_rom(knots: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Cubic through values [k, c] at increasing knots [k], sampled at [m]; tangents from the two neighbours."""
    slopes = np.gradient(values, knots, axis=0)
    i = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    h = (knots[i + 1] - knots[i])[:, None]
    s = (at - knots[i])[:, None] / h
    near = (1 + 2 * s) * (1 - s) ** 2 * values[i] + s * (1 - s) ** 2 * h * slopes[i]
    far = s**2 * (3 - 2 * s) * values[i + 1] + s**2 * (s - 1) * h * slopes[i + 1]
    return near + far
