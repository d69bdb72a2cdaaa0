"""How the scene of a checkpoint is found among its arrays: by the kind that its state names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.field_shapes import FieldShape
from scenerep.scenes import Gaussians, MipVoxels, NeuralField, Scene, Voxels

SPLATS, VOXELS, MIP_VOXELS, FIELD = "splats", "voxels", "mip-voxels", "field"


@dataclass(frozen=True)
class _Kind:
    """arrays: From the state to the names of those that the scene needs. build: (arrays, state, metadata) -> Scene."""

    arrays: Callable[[dict[str, Any]], tuple[str, ...]]
    build: Callable[[dict[str, np.ndarray], dict[str, Any], dict[str, Any]], Scene]


def _gaussians(arrays: dict[str, np.ndarray], state: dict[str, Any], metadata: dict[str, Any]) -> Gaussians:
    return Gaussians(**arrays, antialiased=bool(state.get("antialiased", False)), metadata=metadata)


def _voxels(arrays: dict[str, np.ndarray], state: dict[str, Any], metadata: dict[str, Any]) -> Voxels:
    grid = state["grid"]
    kept = arrays["kept0"].astype(bool)
    return Voxels(
        size=tuple(grid["size"]),
        index=arrays["index0"][kept],
        values=arrays["values0"][kept],
        box=np.array(grid["box"]),
        contracted=bool(grid["contracted"]),
        step=float(grid["step"]),
        metadata=metadata,
    )


def _level_arrays(count: int) -> tuple[str, ...]:
    return tuple(f"{name}{k}" for k in range(count) for name in ("index", "values", "kept"))


def _mip_voxels(arrays: dict[str, np.ndarray], state: dict[str, Any], metadata: dict[str, Any]) -> MipVoxels:
    grid = state["grid"]
    kept = [arrays[f"kept{k}"].astype(bool) for k in range(grid["levels"])]
    return MipVoxels(
        size=tuple(grid["size"]),
        indices=tuple(arrays[f"index{k}"][some] for k, some in enumerate(kept)),
        values=tuple(arrays[f"values{k}"][some] for k, some in enumerate(kept)),
        network={name: arrays[f"mlp_{name}"] for name in _NETWORK},
        box=np.array(grid["box"]),
        contracted=bool(grid["contracted"]),
        step=float(grid["step"]),
        metadata=metadata,
    )


def field_state(scene: NeuralField) -> dict[str, Any]:
    """What a checkpoint's state says of a network, under `field`."""
    return {
        "shape": dataclasses.asdict(scene.shape),
        "subject": scene.subject,
        "box": scene.box.tolist(),
        "march": scene.march,
        "contracted": scene.contracted,
    }


def _field(arrays: dict[str, np.ndarray], state: dict[str, Any], metadata: dict[str, Any]) -> NeuralField:
    about = state["field"]
    shape = FieldShape(**about["shape"])
    weights = {name: arrays[name] for name in shape.arrays()}
    march = about.get("march")
    return NeuralField(
        shape,
        weights,
        about["subject"],
        np.array(about["box"]),
        metadata,
        None if march is None else tuple(march),
        bool(about.get("contracted", False)),
    )


_NETWORK = ("w1", "b1", "w2", "b2", "w3", "b3")
_KINDS = {
    SPLATS: _Kind(lambda state: ("means", "log_scales", "quats", "opacity_logits", "sh"), _gaussians),
    VOXELS: _Kind(lambda state: _level_arrays(1), _voxels),
    MIP_VOXELS: _Kind(
        lambda state: (*_level_arrays(state["grid"]["levels"]), *(f"mlp_{name}" for name in _NETWORK)), _mip_voxels
    ),
    FIELD: _Kind(lambda state: tuple(FieldShape(**state["field"]["shape"]).arrays()), _field),
}


def arrays_of(state: dict[str, Any]) -> tuple[str, ...]:
    """Names of the arrays that the scene of a checkpoint with this state is made of."""
    return _KINDS[state.get("kind", SPLATS)].arrays(state)


def saved_scene(arrays: dict[str, np.ndarray], state: dict[str, Any], metadata: dict[str, Any]) -> Scene:
    """The scene of a checkpoint; `arrays` holds those of `arrays_of(state)`."""
    return _KINDS[state.get("kind", SPLATS)].build(arrays, state, metadata)
