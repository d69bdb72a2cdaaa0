"""Voxel fields and networks as plain arrays (.npz), for programs that read NumPy."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from scenerep.errors import ConfigError
from scenerep.io.files import replacing
from scenerep.scenes import MipVoxels, NeuralField, Voxels


def write_field(scene: Voxels | MipVoxels | NeuralField, path: Path, *, overwrite: bool = True) -> None:
    """Writes `size`, `box`, `contracted`, `step` and the scene's arrays (scenes.py says what they are).

    Of a network `box`, `subject`, `shape` (JSON) and its arrays.

    Raises:
        ConfigError: The name does not end in .npz.
    """
    if path.suffix.lower() != ".npz":
        raise ConfigError(
            f"{path}: fields are written to .npz", "or make splats of voxels: scenerep distill RUN --to splats"
        )
    if isinstance(scene, NeuralField):
        about: dict[str, Any] = {"subject": scene.subject, "shape": json.dumps(dataclasses.asdict(scene.shape))}
    else:
        about = {"size": scene.size, "contracted": scene.contracted, "step": scene.step}
    arrays: dict[str, Any] = {"box": scene.box} | {name: np.array(value) for name, value in about.items()}
    with replacing(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        np.savez(file, **dict[str, Any](arrays | scene.arrays()))
