"""The NeRF synthetic (Blender) sets: transforms_train.json, _val, _test; RGBA pictures, camera_angle_x, OpenGL axes."""

from __future__ import annotations

from pathlib import Path

from scenerep.captures import Capture, Split, View
from scenerep.data_tools.readers.common import assemble, load_json
from scenerep.data_tools.readers.nerfstudio import frames_of, view_of_frame

LOOKS_FOR = "transforms_train.json"


def detect(path: Path) -> bool:
    """Whether `path` is a folder with transforms_train.json."""
    return (path / LOOKS_FOR).is_file()


def read(path: Path, *, test_every: int = 8) -> Capture:
    """Train views from transforms_train, held-out ones from transforms_test (else transforms_val, else `test_every`).

    Raises:
        DataError: no picture is there.
        FormatError: a file is broken; names the frame.
    """
    held_out = next((f for f in ("transforms_test.json", "transforms_val.json") if (path / f).is_file()), None)
    files: list[tuple[str, Split]] = [(LOOKS_FOR, "train")]
    if held_out:
        files.append((held_out, "test"))
    views: list[View] = []
    for name, split in files:
        file = path / name
        document = load_json(file)
        frames = frames_of(document, file)
        views += [view_of_frame(file, document, frame, i, split) for i, frame in enumerate(frames)]
    return assemble(path, "blender", views, test_every=test_every, states_split=held_out is not None)
