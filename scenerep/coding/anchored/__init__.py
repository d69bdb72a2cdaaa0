"""Splats that small networks predict from anchors (CompGS, Liu et al., ACM MM 2024): integers, their bytes, and plain
Gaussians made of them. Trained by scenerep/compress/compgs. No torch."""

from __future__ import annotations

from scenerep.coding.anchored.bake import bake
from scenerep.coding.anchored.file import decode, decode_anchored, encode_anchored
from scenerep.coding.anchored.scene import AnchoredSplats, Grid, Layout

__all__ = ["AnchoredSplats", "Grid", "Layout", "bake", "decode", "decode_anchored", "encode_anchored"]
