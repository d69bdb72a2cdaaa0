"""A radiance field's network as a voxel grid, from which it is drawn, viewed and turned into meshes and splats."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation

from scenerep.errors import ConfigError
from scenerep.implicit.evaluate import field_values, network_of
from scenerep.scenes import RADIANCE, NeuralField, Voxels
from scenerep.voxels.space import OPTICAL, Space, activated

_BLOCK = 4  # vertices along a side of what is looked at as a whole
_DENSE = 5e-3  # opacity of a voxel, as in voxels/pyramid.py
_FAINT = 0.1  # share of it below which a block's middle and corners say that nothing is there


def space_of_network(scene: NeuralField) -> Space:
    """Where the grid of a radiance field lies.

    Raises:
        ConfigError: if the network is of another subject.
    """
    if scene.march is None:
        raise ConfigError(f"this network holds a {scene.subject}, no radiance field", "export it")
    return Space(scene.march, scene.box, scene.contracted)


def network_places(space: Space, points: np.ndarray) -> np.ndarray:
    """float32 [n, 3] in [-1, 1]: world points [n, 3] as a radiance field's network sees them."""
    grid = space.to_grid(points)
    return (grid / (np.array(space.size) - 1) * 2 - 1).astype(np.float32)


def bake(scene: NeuralField) -> Voxels:
    """The grid, of which only what is not nearly empty is kept.

    Blocks are looked at by their middles first; where these are faint, and those beside them, nothing is baked.
    """
    assert scene.subject == RADIANCE
    space, network = space_of_network(scene), network_of(scene)
    size = np.array(space.size)
    nx, ny, nz = (-(-n // _BLOCK) for n in space.size)
    least = -np.log1p(-_DENSE) / (OPTICAL * space.inner_voxel)
    middles = np.stack(np.meshgrid(*(np.arange(n) for n in (nz, ny, nx)), indexing="ij")[::-1], axis=-1).reshape(-1, 3)
    unit = (middles * _BLOCK + (_BLOCK - 1) / 2) / (size - 1) * 2 - 1
    dense = activated(field_values(network, unit.clip(-1, 1).astype(np.float32))[:, 0]) >= _FAINT * least
    near: np.ndarray = binary_dilation(dense.reshape(nz, ny, nx), np.ones((3, 3, 3)))  # type: ignore[assignment]
    mask = near.repeat(_BLOCK, 0).repeat(_BLOCK, 1).repeat(_BLOCK, 2)[: size[2], : size[1], : size[0]]
    z, y, x = np.nonzero(mask)
    places = np.stack([x, y, z], axis=1) / (size - 1) * 2 - 1
    values = field_values(network, places.astype(np.float32))
    # A vertex counts by itself or beside one that does: samples between the two see it.
    own = np.zeros(mask.shape, bool)
    own[z, y, x] = activated(values[:, 0]) >= least
    kept: np.ndarray = binary_dilation(own, np.ones((3, 3, 3)))  # type: ignore[assignment]
    chosen = kept[z, y, x]
    index = (z * size[1] + y) * size[0] + x
    metadata = {key: value for key, value in scene.metadata.items() if key != "format"}
    return Voxels(space.size, index[chosen], values[chosen], scene.box, scene.contracted, metadata=metadata)
