"""Voxel fields for tests: at random, and a coloured ball with levels that are means of the finest one."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from scenerep.coding.voxels import Importance, VoxelSteps, encode_mip_voxels, encode_voxels
from scenerep.scenes import MipVoxels, Voxels
from scenerep.voxels.shading import start

BOX = np.array([[-1.0, 0, 2], [1, 3, 5]])
STEPS = VoxelSteps(0.05, 0.05, 0.05)


def even(n: int) -> Importance:
    return Importance(np.ones(n), np.ones(n), np.ones(n))


def scene(n: int = 300, degree: int = 1, seed: int = 0) -> Voxels:
    rng = np.random.default_rng(seed)
    index = np.sort(rng.choice(20 * 17 * 30, n, replace=False))
    return Voxels((20, 17, 30), index, rng.normal(0, 2, (n, 4 if degree == 0 else 13)), BOX, True, 0.5)


def pyramid(seed: int = 0) -> MipVoxels:
    rng = np.random.default_rng(seed)
    sizes = [(17, 9, 33), (9, 5, 17), (5, 3, 9)]
    indices = tuple(np.sort(rng.choice(int(np.prod(s)), 60, replace=False)) for s in sizes)
    values = tuple(rng.normal(0, 2, (60, 8)).astype(np.float32) for _ in sizes)
    return MipVoxels(sizes[0], indices, values, start(rng), BOX)


def encoded(field: Voxels | MipVoxels, steps: VoxelSteps = STEPS) -> bytes:
    """The file, every coefficient kept."""
    if isinstance(field, Voxels):
        return encode_voxels(field, steps, even(len(field)), 0.0)
    return encode_mip_voxels(field, steps, tuple(even(len(i)) for i in field.indices), 0.0)


def ball(size: tuple[int, int, int] = (65, 65, 65), *, width: int = 8, contracted: bool = False) -> np.ndarray:
    """float32 [nz, ny, nx, width]: a hard ball of radius 0.6 with a pattern of colours, and a thin shell around it."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2) * (2 if contracted else 1)
    values = np.zeros((*size, width), np.float32)
    values[..., 0] = np.clip(60 * (0.6 - r), -10, 25) + 8 * np.exp(-((r - 0.8) ** 2) / 0.001)
    for c in range(1, width):
        values[..., c] = 2.5 * np.sin((3 + c) * x + 2 * c * y - (5 - c) * z + c)
    return np.ascontiguousarray(values.transpose(2, 1, 0, 3))


def _sparse(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = values.reshape(-1, values.shape[-1])
    near = uniform_filter((values[..., 0] > -2).astype(np.float32), 3) > 0
    index = np.flatnonzero(near.reshape(-1))
    return index, flat[index]


def ball_voxels(degree: int, *, contracted: bool = False) -> Voxels:
    values = ball(width=4 if degree == 0 else 13, contracted=contracted)
    index, rows = _sparse(values)
    return Voxels((65, 65, 65), index, rows, np.array([[-1.0, -0.8, -0.6], [1, 0.8, 1.4]]), contracted)


def ball_pyramid(levels: int = 4) -> MipVoxels:
    values = ball()
    found = []
    for _ in range(levels):
        found.append(_sparse(values))
        values = uniform_filter(values, size=(3, 3, 3, 1), mode="nearest")[::2, ::2, ::2]
    network = start(np.random.default_rng(3))
    network["w3"] *= 10
    network["b3"][:] = -1.0
    box = np.array([[-1.0, -1, -1], [1, 1, 1]])
    return MipVoxels((65, 65, 65), tuple(i for i, _ in found), tuple(v for _, v in found), network, box)
