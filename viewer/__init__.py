"""Scenes in a browser. Imports nothing heavy: viser is loaded when a server starts."""

from scenerep.viewer.live import LiveView
from scenerep.viewer.server import SceneServer

__all__ = ["LiveView", "SceneServer"]
