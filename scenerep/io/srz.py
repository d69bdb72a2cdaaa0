"""`.srz`: entropy-coded scenes, those of plain splats with layers. Byte table and worked example: docs/formats/srz.md.

This writes a scene as it is, with fine steps; the compressors choose steps, Gaussians and bands by what they cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.coding import Quantiser, decode_file, encode, focus_of, grid_for, quantise
from scenerep.coding.container import is_srz
from scenerep.coding.quantiser import MAX_DEPTH, contract
from scenerep.coding.voxels import Importance, VoxelSteps, encode_mip_voxels, encode_voxels
from scenerep.scenes import Gaussians, MipVoxels, Scene, Voxels

__all__ = ["SrzOptions", "is_srz", "read", "write", "write_voxels"]

_VOXEL_STEP = 1 / 64  # of raw values: a logistic colour moves by at most a quarter of half of that


@dataclass(frozen=True)
class SrzOptions:
    """How a scene is written."""

    fineness: float = 1.0
    """Divides all steps; at 1, renders differ by about what 8-bit pixels round."""
    canonical: bool = True
    """Write rotations and scales in canonical form; see scenerep/coding/canonical.py."""


def read(data: bytes, file: str = "<srz>") -> Scene:
    """The scene in an `.srz` file of any kind. If the file was cut off, its complete layers.

    Raises:
        FormatError: the bytes are no `.srz` file, are broken, or end before the first layer does.
    """
    return decode_file(data, file=file).scene


def write(scene: Gaussians, options: SrzOptions | None = None) -> bytes:
    """The scene as an `.srz` file of one layer.

    Raises:
        SceneRepError: the metadata have no JSON form, or a value is not finite.
    """
    return encode(quantise(scene, fine_quantiser(scene, options or SrzOptions())))


def write_voxels(scene: Voxels | MipVoxels, metadata: dict[str, Any] | None = None) -> bytes:
    """A voxel field as an `.srz` file, every value within half a step of about what 8-bit pixels round."""
    steps = VoxelSteps(_VOXEL_STEP, _VOXEL_STEP, _VOXEL_STEP)
    if isinstance(scene, Voxels):
        return encode_voxels(scene, steps, _even(len(scene)), 0.0, metadata)
    return encode_mip_voxels(scene, steps, tuple(_even(len(index)) for index in scene.indices), 0.0, metadata)


def _even(n: int) -> Importance:
    return Importance(np.ones(n), np.ones(n), np.ones(n))


def fine_quantiser(scene: Gaussians, options: SrzOptions) -> Quantiser:
    """Steps for a scene that nobody wants to tune."""
    f = options.fineness
    centre, radius = focus_of(scene.means)
    # 13 bits for the radius within which 90 % of the centres lie, fewer if the scene reaches too far for the octree.
    places = contract(scene.means, centre, radius)
    extent = float((places.max(axis=0) - places.min(axis=0)).max()) if len(scene) else 0.0
    position = max(radius / (8192 * f), extent / (2**MAX_DEPTH - 2))
    origin, depth = grid_for(scene.means, position, centre=centre, radius=radius)
    return Quantiser(
        origin=origin,
        position=position,
        depth=depth,
        log_scale=0.02 / f,
        rotation=0.01 / f,
        opacity=1 / (255 * f),
        colour_luma=1 / (255 * f),
        colour_chroma=2 / (255 * f),
        sh_luma=(0.02 / f,) * scene.sh_degree,
        sh_chroma=(0.04 / f,) * scene.sh_degree,
        canonical=options.canonical,
        centre=centre,
        radius=radius,
    )
