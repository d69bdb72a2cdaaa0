"""What a coordinate network is trained on: the file says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from scenerep.errors import DataError
from scenerep.events import Evaluated, Scored
from scenerep.implicit.networks import Field


class Subject(Protocol):
    """A picture or a surface.

    name: One of scenes.SUBJECTS. inputs, outputs: Of the network. finest: Cells along a side of a hash grid.
    box: float64 [2, inputs], what [-1, 1] along its longest side spans. warnings: What is odd about it.
    """

    name: str
    inputs: int
    outputs: int
    finest: int
    box: np.ndarray
    warnings: list[str]

    def prepare(self, seed: int) -> None:
        """What takes time, before the training's clock runs."""
        ...

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(places float32 [n, inputs], targets float32 [n, outputs])."""
        ...

    def weights(self, targets: np.ndarray) -> np.ndarray | None:
        """What a squared error counts, float32 [n, 1]; None: all the same."""
        ...

    def measure(self, field: Field, step: int, *, full: bool) -> Evaluated | Scored:
        """How good a network is."""
        ...


def open_subject(path: Path, max_side: int | None, background: str) -> Subject:
    """The subject in a file.

    Args:
        max_side: Longer side that a picture is reduced to, in pixels.
        background: Behind a picture with transparency: white or black.

    Raises:
        DataError: There is no such file, or it can be read neither as a mesh nor as a picture.
    """
    from scenerep.implicit.picture import PictureSubject
    from scenerep.implicit.surface import SurfaceSubject
    from scenerep.meshes.read import is_mesh, read_mesh

    if path.is_dir():
        hint = "for photographs use train splats, voxels or mip-voxels"
        raise DataError(f"{path} is a folder; a network is trained on one picture or one mesh", hint)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file", "name a picture or a mesh (.obj, .ply, .glb, .stl, .off)")
    if is_mesh(path):
        return SurfaceSubject(read_mesh(path), str(path))
    return PictureSubject.of_file(path, max_side, background)
