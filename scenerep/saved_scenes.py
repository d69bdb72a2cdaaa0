"""How the scene of a checkpoint is found among its arrays: by the kind that its state names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.scenes import Gaussians, Scene, Voxels

SPLATS, VOXELS = "splats", "voxels"


@dataclass(frozen=True)
class _Kind:
    """arrays: Those that the scene needs. build: (arrays, state, metadata) -> Scene."""

    arrays: tuple[str, ...]
    build: Callable[[dict[str, np.ndarray], dict[str, Any], dict[str, Any]], Scene]


def _gaussians(arrays: dict[str, np.ndarray], state: dict[str, Any], metadata: dict[str, Any]) -> Gaussians:
    return Gaussians(**arrays, antialiased=bool(state.get("antialiased", False)), metadata=metadata)


def _voxels(arrays: dict[str, np.ndarray], state: dict[str, Any], metadata: dict[str, Any]) -> Voxels:
    grid = state["grid"]
    kept = arrays["kept"].astype(bool)
    return Voxels(
        size=tuple(grid["size"]),
        index=arrays["index"][kept],
        values=arrays["values"][kept],
        box=np.array(grid["box"]),
        contracted=bool(grid["contracted"]),
        step=float(grid["step"]),
        metadata=metadata,
    )


_KINDS = {
    SPLATS: _Kind(("means", "log_scales", "quats", "opacity_logits", "sh"), _gaussians),
    VOXELS: _Kind(("index", "values", "kept"), _voxels),
}


def arrays_of(state: dict[str, Any]) -> tuple[str, ...]:
    """Names of the arrays that the scene of a checkpoint with this state is made of."""
    return _KINDS[state.get("kind", SPLATS)].arrays


def saved_scene(arrays: dict[str, np.ndarray], state: dict[str, Any], metadata: dict[str, Any]) -> Scene:
    """The scene of a checkpoint; `arrays` holds those of `arrays_of(state)`."""
    return _KINDS[state.get("kind", SPLATS)].build(arrays, state, metadata)
