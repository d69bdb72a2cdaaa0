"""Rays through the pixels of a camera."""

from __future__ import annotations

import numpy as np

from scenerep.geometry.cameras import Camera


def camera_rays(camera: Camera, pixels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rays through pixel centres (at +0.5), in world axes.

    Args:
        camera: Free of distortion.
        pixels: int [n], row by row; all of them by default.

    Returns:
        origins: float32 [n, 3], the camera's centre.
        directions: float32 [n, 3], of length 1.
    """
    if pixels is None:
        pixels = np.arange(camera.width * camera.height)
    local = np.empty((len(pixels), 3))
    local[:, 0] = (pixels % camera.width + 0.5 - camera.cx) / camera.fx
    local[:, 1] = (pixels // camera.width + 0.5 - camera.cy) / camera.fy
    local[:, 2] = 1.0
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    directions = (local @ camera.world_from_camera[:3, :3].T).astype(np.float32)
    return np.tile(camera.centre.astype(np.float32), (len(pixels), 1)), directions


def ray_lengths(camera: Camera) -> np.ndarray:
    """float64 [h, w]: distance along each pixel's ray for one unit of depth along the camera's z axis."""
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    return np.sqrt(x[None, :] ** 2 + y[:, None] ** 2 + 1.0)
