"""Values of a network at many places, without gradients."""

from __future__ import annotations

import numpy as np
import torch

from scenerep.implicit.networks import Field, field_of
from scenerep.scenes import NeuralField

_BATCH = 1 << 16


def field_values(field: Field, places: np.ndarray) -> np.ndarray:
    """float32 [n, outputs] at places float32 [n, inputs] in [-1, 1]."""
    out = np.empty((len(places), field.shape.outputs), np.float32)
    with torch.inference_mode():
        for begin in range(0, len(places), _BATCH):
            rows = slice(begin, begin + _BATCH)
            out[rows] = field(torch.from_numpy(np.ascontiguousarray(places[rows], np.float32))).numpy()
    return out


def network_of(scene: NeuralField) -> Field:
    """The network of a scene."""
    return field_of(scene.shape, scene.weights)
