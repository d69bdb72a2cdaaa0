"""What all strategies share: the interface, and long-axis splitting."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from scenerep.geometry.quaternions import rotation_from_quaternion
from scenerep.splats.config import DensifyConfig
from scenerep.splats.model import Model

# Children of a long-axis split: offset and standard deviation along the axis in units of the parent's, and opacity.
# At the parent's centre the two together reach 0.7 of its opacity; keeping more costs up to 2 dB (fox, 3000 steps).
_OFFSET = 0.5
_SHRINK = 0.7
_KEEP = 0.45


class Strategy(Protocol):
    """Called every `densify.every` steps while the progress is below `densify.refine_until`."""

    def __init__(self, config: DensifyConfig, budget: int, initial: int, scene_scale: float) -> None: ...

    def refine(self, model: Model, progress: float, previous: float, rng: np.random.Generator) -> None:
        """Adds, moves and removes Gaussians; never leaves more than the budget. Forgets the model's statistics.

        previous: The progress at the refinement before. All state is in the model, so that a resumed run goes on alike.
        """
        ...


def logit(opacity: np.ndarray) -> np.ndarray:
    opacity = np.clip(opacity, 1e-4, 1 - 1e-4)
    return np.log(opacity / (1 - opacity))


def split_long_axis(values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Two children for each Gaussian, side by side along its longest axis."""
    n = np.arange(len(values["means"]))
    axis = np.argmax(values["log_scales"], axis=1)
    direction = rotation_from_quaternion(values["quats"])[n, :, axis].astype(np.float32)
    shift = direction * (_OFFSET * np.exp(values["log_scales"][n, axis]))[:, None]
    children = {name: a.copy() for name, a in values.items()}
    children["log_scales"][n, axis] += np.log(_SHRINK)
    opacity = 1.0 / (1.0 + np.exp(-values["opacity_logits"]))
    children["opacity_logits"] = logit(opacity * _KEEP).astype(np.float32)
    other = {name: a.copy() for name, a in children.items()}
    children["means"] = values["means"] + shift
    other["means"] = values["means"] - shift
    return children, other


def draw(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` different rows, drawn with probabilities proportional to the weights [n] (Efraimidis, Spirakis)."""
    usable = np.flatnonzero(weights > 0)
    count = min(count, len(usable))
    if count <= 0:
        return np.zeros(0, dtype=np.int64)
    keys = np.log(np.maximum(rng.random(len(usable)), 1e-300)) / weights[usable]
    return np.sort(usable[np.argpartition(-keys, count - 1)[:count]])
