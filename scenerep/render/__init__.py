"""Scene and camera to pictures. `rasterize` is the only door; `render` and `significance` are the numpy side of it."""

from __future__ import annotations

from scenerep.render.api import rasterize, render, significance
from scenerep.render.types import Backend, Rasterized, Rendered, ScreenProbe

__all__ = ["Backend", "Rasterized", "Rendered", "ScreenProbe", "rasterize", "render", "significance"]
