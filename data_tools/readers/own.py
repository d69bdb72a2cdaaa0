"""Our own format: a folder with capture.json, as `write_capture` leaves it."""

from __future__ import annotations

from pathlib import Path

from scenerep.captures import Capture, read_capture
from scenerep.captures.disk import FILE

LOOKS_FOR = FILE


def detect(path: Path) -> bool:
    """Whether `path` is a folder with capture.json, or that file."""
    return (path / FILE).is_file() or (path.is_file() and path.name == FILE)


def read(path: Path, *, test_every: int = 8) -> Capture:
    """The capture as stored; it states its own split, so `test_every` is not used."""
    return read_capture(path)
