"""Adam in plain NumPy: the specification of `native/adam.cpp`."""

from __future__ import annotations

import numpy as np


def adam_reference(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    lr: float | np.ndarray,
    step: int,
    *,
    visible: np.ndarray | None = None,
    active: int | None = None,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-15,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New (param, m, v) after one step; arguments as for `adam_step`, which works in place."""
    changes = np.zeros(param.shape, dtype=bool)
    changes[slice(None) if visible is None else visible] = True
    if active is not None:
        changes[:, active:] = False
    rate = np.broadcast_to(np.asarray(lr), param.shape[1:])
    new_m = beta1 * m + (1 - beta1) * grad
    new_v = beta2 * v + (1 - beta2) * grad**2
    mean, root = new_m / (1 - beta1**step), np.sqrt(new_v / (1 - beta2**step))
    new_param = param - rate * mean / (root + eps)
    return np.where(changes, new_param, param), np.where(changes, new_m, m), np.where(changes, new_v, v)
