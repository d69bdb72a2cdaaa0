"""What a coordinate network is trained on: the file says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from scenerep.errors import DataError
from scenerep.events import Evaluated, Scored
from scenerep.implicit.networks import Field
from scenerep.scenes import NeuralField


class Subject(Protocol):
    """A picture, a surface or a radiance field.

    name: One of scenes.SUBJECTS. inputs, outputs: Of the network. finest: Cells along a side of a hash grid.
    squares: Whether the loss is the mean square of the residuals, or their mean size. warnings: What is odd about it.
    """

    name: str
    inputs: int
    outputs: int
    finest: int
    squares: bool
    warnings: list[str]

    def scene(self, field: Field) -> NeuralField:
        """A network as a scene."""
        ...

    def prepare(self, seed: int) -> None:
        """What takes time, before the training's clock runs."""
        ...

    def advance(self, field: Field, step: int, rng: np.random.Generator) -> None:
        """Called after each step of a training."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that a resumed training needs, under names that no network has."""
        ...

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of `state`, before `prepare`."""
        ...

    def residuals(self, field: Field, rng: np.random.Generator, count: int) -> Tensor:
        """float32 [n, c]: weighted errors of a network's values on a batch of about `count` of them."""
        ...

    def measure(self, field: Field, step: int, *, full: bool) -> Evaluated | Scored:
        """How good a network is."""
        ...


class Still:
    """The part of a subject that nothing changes while it is learned."""

    def advance(self, field: Field, step: int, rng: np.random.Generator) -> None:
        del field, step, rng

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        del arrays


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
        raise DataError(f"{path} is a folder, no picture and no mesh", "name a file")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file", "name a picture or a mesh (.obj, .ply, .glb, .stl, .off)")
    if is_mesh(path):
        return SurfaceSubject(read_mesh(path), str(path))
    return PictureSubject.of_file(path, max_side, background)
