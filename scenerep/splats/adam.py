"""One step of Adam for the arrays of a splat scene, on the CPU, on the rows that were seen.

The kernel is `native/adam.cpp`; `adam_reference.py` is the same in plain NumPy. The moments live in `model.Model`.
"""

from __future__ import annotations

import numpy as np

from scenerep.errors import SceneRepError
from scenerep.native import native

BETA1, BETA2 = 0.9, 0.999
EPSILON = 1e-15  # as in 3DGS, where gradients are tiny


def adam_step(
    param: np.ndarray,
    grad: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    rate: float | np.ndarray,
    step: int,
    visible: np.ndarray | None = None,
    active: int | None = None,
) -> None:
    """Changes `param`, `first` and `second` in place (Adam, Kingma and Ba 2015).

    The bias correction counts all steps, also for a Gaussian that was not seen or is new ("visible only", as gsplat's
    SelectiveAdam; Mallick et al. 2024). The same bits for every number of threads.

    Args:
        param, grad, first, second: [n, ...] float32, contiguous; value, gradient and the two moments.
        rate: Learning rate: a number, or an array that broadcasts to param.shape[1:], for instance [16, 1] for SH.
        step: Counts from 1.
        visible: [n] uint8 or bool; rows that are 0 keep their value and their moments. None: all are seen.
        active: Only the first `active` entries of the second axis are changed (the SH bases in use); None for all.

    Raises:
        SceneRepError: Shapes or types do not fit.
    """
    for name, array in (("param", param), ("grad", grad), ("first", first), ("second", second)):
        if array.shape != param.shape or array.dtype != np.float32 or not array.flags.c_contiguous:
            raise SceneRepError(
                f"adam_step: {name} is {array.dtype} {array.shape}, expected contiguous float32 {param.shape}"
            )
    if step < 1:
        raise SceneRepError(f"adam_step: step is {step}, the first is 1")
    if visible is not None and visible.shape != param.shape[:1]:
        raise SceneRepError(f"adam_step: visible has shape {visible.shape}, expected {param.shape[:1]}")
    rows, columns = param.shape[0], int(np.prod(param.shape[1:]))
    if active is not None and not (param.ndim > 1 and 0 <= active <= param.shape[1]):
        raise SceneRepError(f"adam_step: active={active} for the shape {param.shape}")
    inner = int(np.prod(param.shape[2:]))
    flat = (rows, columns)
    native().adam_step(
        param.reshape(flat),
        grad.reshape(flat),
        first.reshape(flat),
        second.reshape(flat),
        None if visible is None else np.ascontiguousarray(visible).view(np.uint8),
        np.ascontiguousarray(np.broadcast_to(np.asarray(rate, np.float32), param.shape[1:])).reshape(-1),
        BETA1,
        BETA2,
        EPSILON,
        step,
        columns if active is None else active * inner,
    )
