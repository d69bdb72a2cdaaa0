"""How a surface is made of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MeshConfig:
    """A surface from the depth that the cameras see."""

    method: Literal["tsdf", "poisson"] = "tsdf"
    """tsdf: fuse depth renders in a truncated signed distance volume; keeps what was seen. poisson: a closed surface
    through the points of the same renders; fills what nobody saw."""
    resolution: int = 224
    """Voxels along the longest side of the region (memory: 32 bytes times its cube), or 2^depth for Poisson."""
    max_side: int = 480
    """Longer side of the depth renders in pixels."""
    min_alpha: float = 0.5
    """Pixels below this opacity have no surface."""
    faces: int = 200_000
    """Reduce to this many triangles by quadric errors; 0 keeps all."""
    keep: float = 0.02
    """Leave out connected parts with fewer triangles than this share of the largest."""
