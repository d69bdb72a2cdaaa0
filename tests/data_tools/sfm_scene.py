"""A small textured corner, ray-cast from known cameras, as photographs for structure from motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import zoom

WIDTH, HEIGHT, FOCAL = 320, 240, 300.0


def _texture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.zeros((512, 512, 3))
    for cells, weight in ((8, 1.0), (32, 1.0), (128, 1.2)):
        out += weight * zoom(rng.random((cells, cells, 3)), (512 // cells, 512 // cells, 1), order=1)
    out -= out.min()
    return out / out.max() * 255


# Floor, back wall and side wall: (point, normal axis, the two texture axes), as planes axis = value.
_PLANES = [(1, 1.0, 0, 2), (2, 2.0, 0, 1), (0, -1.2, 2, 1)]
_TEXTURES = [_texture(seed) for seed in range(3)]


def pose(angle_deg: float, height: float = -0.3) -> np.ndarray:
    """[4, 4] world_from_camera on an arc, looking at the corner (y down, z forward)."""
    angle = np.radians(angle_deg)
    centre = np.array([2.6 * np.sin(angle), height, 1.0 - 2.6 * np.cos(angle)])
    forward = np.array([-0.2, 0.35, 1.2]) - centre
    forward /= np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    out = np.eye(4)
    out[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    out[:3, 3] = centre
    return out


def render(world_from_camera: np.ndarray, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """uint8 [h, w, 3]: the nearest of the three planes, bilinear texture that repeats only outside of view."""
    focal = FOCAL * max(width, height) / WIDTH
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(u - width / 2) / focal, (v - height / 2) / focal, np.ones_like(u)], axis=-1)
    rays = rays.reshape(-1, 3) @ world_from_camera[:3, :3].T
    origin = world_from_camera[:3, 3]
    nearest = np.full(len(rays), np.inf)
    colour = np.zeros((len(rays), 3))
    for (axis, value, s, t), texture in zip(_PLANES, _TEXTURES, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (value - origin[axis]) / rays[:, axis]
        hit = (distance > 0) & (distance < nearest)
        points = origin + distance[hit, None] * rays[hit]
        nearest[hit] = distance[hit]
        colour[hit] = _bilinear(texture, points[:, s] * 90 + 256, points[:, t] * 90 + 256)
    return np.round(colour).astype(np.uint8).reshape(height, width, 3)


def _bilinear(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    at = lambda dx, dy: texture[(y0 + dy) % 512, (x0 + dx) % 512]  # noqa: E731
    return (at(0, 0) * (1 - fx) + at(1, 0) * fx) * (1 - fy) + (at(0, 1) * (1 - fx) + at(1, 1) * fx) * fy


def arc(count: int = 8) -> list[np.ndarray]:
    """Poses on an arc of 40 degrees, not all at one height."""
    return [pose(a, -0.3 - 0.15 * (i % 3)) for i, a in enumerate(np.linspace(-25, 15, count))]


def write_photos(folder: Path, count: int = 8) -> list[np.ndarray]:
    """Writes photo0.png ... and returns their poses."""
    folder.mkdir(parents=True, exist_ok=True)
    poses = arc(count)
    for i, world_from_camera in enumerate(poses):
        Image.fromarray(render(world_from_camera)).save(folder / f"photo{i}.png")
    return poses


def centre_error(found: np.ndarray, true: np.ndarray) -> float:
    """Largest distance of centres [n, 3] after the best similarity (Umeyama, PAMI 1991), as a share of the extent."""
    return float(align(found, true).max() / np.linalg.norm(np.ptp(true, axis=0)))


def align(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """[n] distances that remain after the similarity that fits `found` to `true` best."""
    a, b = found - found.mean(axis=0), true - true.mean(axis=0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (s * sign).sum() / (a**2).sum()
    return np.linalg.norm(scale * a @ (u * sign @ vt).T - b, axis=1)
