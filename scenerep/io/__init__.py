"""Scenes in files: one module per format, found by content when reading and by the ending when writing."""

from scenerep.formats import FORMATS, Format
from scenerep.io.scene_files import detect, lost, read_scene, write_scene

__all__ = ["FORMATS", "Format", "detect", "lost", "read_scene", "write_scene"]
