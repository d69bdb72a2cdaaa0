"""Voxel fields as plain arrays (.npz), for programs that read NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scenerep.errors import ConfigError
from scenerep.io.files import replacing
from scenerep.scenes import MipVoxels, Voxels


def write_field(scene: Voxels | MipVoxels, path: Path, *, overwrite: bool = True) -> None:
    """Writes `size`, `box`, `contracted`, `step` and the scene's arrays (scenes.py says what they are).

    Raises:
        ConfigError: The name does not end in .npz.
    """
    if path.suffix.lower() != ".npz":
        raise ConfigError(
            f"{path}: voxel fields are written to .npz", "or make splats: scenerep distill RUN --to splats"
        )
    arrays: dict[str, Any] = {
        "size": np.array(scene.size),
        "box": scene.box,
        "contracted": np.array(scene.contracted),
        "step": np.array(scene.step),
    }
    with replacing(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        np.savez(file, **dict[str, Any](arrays | scene.arrays()))
