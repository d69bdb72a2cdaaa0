"""Captures: what data_tools produce and trainers read. No torch."""

from scenerep.captures.capture import Capture, Points, Split, View, split_every
from scenerep.captures.disk import write_capture
from scenerep.captures.parse import read_capture
from scenerep.captures.pictures import load_picture, picture_size

__all__ = [
    "Capture",
    "Points",
    "Split",
    "View",
    "load_picture",
    "picture_size",
    "read_capture",
    "split_every",
    "write_capture",
]
