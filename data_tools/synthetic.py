"""make_synthetic: a capture of a procedural scene with exact cameras, alpha, points and (on request) depth."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from scenerep.captures import Capture, Points, View, read_capture, split_every, write_capture
from scenerep.data_tools.synthetic_scene import Solid, cast, make_scene
from scenerep.errors import ConfigError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import look_at

# Rays a pixel: 3 x 3 keeps the edges of tiles and solids smooth
_SAMPLES = 3
_FIELD_OF_VIEW_DEG = 45.0
_DISTANCE = 3.4
_TARGET = np.array([0.0, 0.0, 0.25])


def make_synthetic(
    out: Path | str,
    *,
    views: int = 40,
    size: int = 128,
    seed: int = 0,
    points: int = 4000,
    depth: bool = False,
    test_every: int = 8,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Capture:
    """Ray-casts the scene of `synthetic_scene` from cameras on a dome and writes a capture in our own format.

    The same arguments give the same bytes. World z is up, the floor is at z = 0 with radius 1.5.

    Args:
        out: The folder to make.
        views: Number of pictures, 3 and more.
        size: Width and height of the pictures in pixels.
        seed: Moves, turns and colours the solids.
        points: Number of sparse points, on surfaces that train views see, with the colour they see.
        depth: Also write exact depth maps.
        test_every: Every so many views are held out.
        overwrite: Replace `out` if it exists.
        progress: Called as progress("pictures", done, total).

    Raises:
        ConfigError: a number is out of range.
        DataError: `out` exists, or cannot be written.
    """
    if views < 3 or not 8 <= size <= 8192 or points < 0:
        raise ConfigError(
            f"views={views}, size={size}, points={points} make no capture",
            "use 3 views and more, a size of 8 to 8192 pixels, and no negative number of points",
        )
    scene = make_scene(seed)
    names = [f"{i:04d}.png" for i in range(views)]
    listed = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, camera, split) in enumerate(zip(names, dome(views, size), split_every(names, test_every))):
            picture = Path(folder) / name
            Image.fromarray(render(scene, camera)).save(picture)
            map_file = None
            if depth:
                map_file = picture.with_suffix(".npy")
                np.save(map_file, depth_map(scene, camera))
            listed.append(View(name, camera, picture, depth=map_file, split=split))
            if progress:
                progress("pictures", i + 1, views)
        train = [view.camera for view in listed if view.split == "train"]
        cloud = _surface_points(scene, train, points, np.random.default_rng([seed, 1])) if points else None
        write_capture(Capture(Path(folder), "synthetic", listed, cloud), out, overwrite=overwrite)
    return read_capture(out)


def dome(views: int, size: int) -> list[Camera]:
    """Cameras around the scene, 12 to 65 degrees above the floor, on a golden-angle spiral: even from any subset."""
    focal = size / 2 / np.tan(np.radians(_FIELD_OF_VIEW_DEG) / 2)
    cameras = []
    for i in range(views):
        # Heights in the order of the golden section too, so that neither the first nor every 8th view is special
        azimuth = 2 * np.pi * (i * 0.6180339887 % 1)
        elevation = np.radians(12 + 53 * (i * 0.7548776662 % 1))
        offset = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
        pose = look_at(_TARGET + _DISTANCE * np.array(offset), _TARGET, np.array([0.0, 0.0, 1.0]))
        cameras.append(Camera(focal, focal, size / 2, size / 2, size, size, pose))
    return cameras


def render(scene: list[Solid], camera: Camera) -> np.ndarray:
    """uint8 [h, w, 4], straight alpha: the share of the pixel that the scene covers."""
    step = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    total = np.zeros((camera.height * camera.width, 4))
    for dy in step:
        for dx in step:
            colour, t = cast(scene, *_rays(camera, _grid(camera, dx, dy)))
            total += np.concatenate([colour, np.isfinite(t)[:, None]], axis=1)
    alpha = total[:, 3:]
    straight = np.concatenate([total[:, :3] / np.maximum(alpha, 1), alpha / _SAMPLES**2], axis=1)
    return np.round(straight * 255).astype(np.uint8).reshape(camera.height, camera.width, 4)


def depth_map(scene: list[Solid], camera: Camera) -> np.ndarray:
    """float32 [h, w]: z of the surface at each pixel's centre, 0 where there is none."""
    o, d = _rays(camera, _grid(camera, 0.5, 0.5))
    _, t = cast(scene, o, d)
    z = np.where(np.isfinite(t), t, 0) * (d @ camera.world_from_camera[:3, 2])
    return z.astype(np.float32).reshape(camera.height, camera.width)


def _grid(camera: Camera, dx: float, dy: float) -> np.ndarray:
    u, v = np.meshgrid(np.arange(camera.width) + dx, np.arange(camera.height) + dy)
    return np.stack([u.ravel(), v.ravel()], axis=1)


def _rays(camera: Camera, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    plane = (pixels - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    d = np.concatenate([plane, np.ones((len(plane), 1))], axis=1) @ camera.world_from_camera[:3, :3].T
    return np.broadcast_to(camera.centre, d.shape), d / np.linalg.norm(d, axis=1, keepdims=True)


def _surface_points(scene: list[Solid], cameras: list[Camera], count: int, rng: np.random.Generator) -> Points:
    """Points seen at random pixels of random cameras."""
    xyz, rgb = np.empty((0, 3)), np.empty((0, 3))
    while len(xyz) < count:
        for camera in cameras:
            pixels = rng.uniform(0, [camera.width, camera.height], (count // len(cameras) + 1, 2))
            o, d = _rays(camera, pixels)
            colour, t = cast(scene, o, d)
            seen = np.isfinite(t)
            xyz = np.concatenate([xyz, o[seen] + t[seen, None] * d[seen]])
            rgb = np.concatenate([rgb, colour[seen]])
    chosen = rng.choice(len(xyz), count, replace=False)
    return Points(xyz[chosen].astype(np.float32), np.round(rgb[chosen] * 255).astype(np.uint8))
