"""open_capture: whatever lies in a folder, as a Capture."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from scenerep.captures import Capture
from scenerep.errors import DataError

# Ours first; then files that name all they need; pose lists without intrinsics or names last.
READERS = (
    "own",
    "nerfstudio",
    "blender",
    "colmap",
    "opensfm",
    "rgbd",
    "middlebury",
    "strecha",
    "llff",
    "precomputed",
)


def open_capture(path: Path | str, *, max_side: int | None = None, test_every: int = 8) -> Capture:
    """Reads a capture in any known format, found by what lies in the folder.

    Args:
        path: The folder of the capture, or the file that describes it.
        max_side: Longest side of the pictures in pixels; None keeps their size.
        test_every: Every so many views, in the order of their names, are held out; 0 holds out none. A source that
            states its own split keeps it.

    Raises:
        DataError: nothing known lies there (the message lists what was looked for), or pictures are missing.
        FormatError: a file breaks its format.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist", "name the folder of a capture")
    reader = find_reader(path)
    return reader.read(path, test_every=test_every).resized(max_side)


def find_reader(path: Path) -> ModuleType:
    """The reader that knows `path`.

    Raises:
        DataError: none does; the message lists what each looks for.
    """
    looked_for = []
    for name in READERS:
        reader = importlib.import_module(f"scenerep.data_tools.readers.{name}")
        if reader.detect(path):
            return reader
        looked_for.append(f"{reader.LOOKS_FOR} ({name})")
    raise DataError(
        f"{path} is no capture in a known format; looked for: {'; '.join(looked_for)}",
        f"photographs without cameras become a capture with: scenerep data photos {path} OUT",
    )
