"""Adam for the arrays of a splat scene, on the CPU: steps only what was seen, and follows when Gaussians come and go.

The kernel is `native/adam.cpp`; `adam_reference.py` is the same in plain NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scenerep.errors import FormatError, SceneRepError
from scenerep.native import native


class Adam:
    """Adam (Kingma and Ba 2015) over named arrays whose first axis counts the Gaussians.

    Call `advance()` once per iteration, then `step()` for every array. The bias correction counts iterations, also for
    a Gaussian that was not seen or is new ("visible only", as gsplat's SelectiveAdam; Mallick et al. 2024).

    Args:
        beta1, beta2: Decay of the two moments, in [0, 1).
        eps: Added to the root of the second moment; 1e-15 as in 3DGS, where gradients are tiny.
    """

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-15) -> None:
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.steps = 0
        self._moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def advance(self) -> None:
        """Begins an iteration."""
        self.steps += 1

    def step(
        self,
        name: str,
        param: Any,
        grad: Any,
        lr: float | np.ndarray,
        visible: Any = None,
        active: int | None = None,
        row_scale: Any = None,
    ) -> None:
        """Changes `param` in place. Rows that are not visible keep their value and their moments.

        Args:
            name: Under which the moments are kept.
            param: [n, ...] float32, contiguous; array, or tensor on the CPU (whose memory is written).
            grad: Like `param`.
            lr: Learning rate: a number, or an array that broadcasts to param.shape[1:], for instance [16, 1] for SH.
            visible: [n] bool; None for all.
            active: Only the first `active` entries of the second axis are changed (the SH bases in use); None for all.
            row_scale: [n] factors on the rate, one per Gaussian; None for 1.

        Raises:
            SceneRepError: Shapes or types do not fit, or `advance` was never called.
        """
        if self.steps < 1:
            raise SceneRepError("Adam.step() before the first advance()", "call advance() once per iteration")
        p, g = _matrix(name, "param", param), _matrix(name, "grad", grad)
        shape = tuple(param.shape)
        if tuple(grad.shape) != shape:
            raise SceneRepError(f"Adam: {name} has shape {shape}, its gradient {tuple(grad.shape)}")
        if name not in self._moments:
            self._moments[name] = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        m, v = self._moments[name]
        if m.shape != shape:
            raise SceneRepError(
                f"Adam: {name} has shape {shape}, its moments {m.shape}",
                "select() or append() when Gaussians come or go",
            )
        inner = 1 if len(shape) < 3 else int(np.prod(shape[2:]))
        columns = p.shape[1] if active is None else active * inner
        if not 0 <= columns <= p.shape[1]:
            raise SceneRepError(f"Adam: {active} active entries of {name}, which has shape {shape}")
        native().adam_step(
            p,
            g,
            m.reshape(p.shape),
            v.reshape(p.shape),
            None if visible is None else _vector(name, "visible", visible, len(p), bool).view(np.uint8),
            np.ascontiguousarray(np.broadcast_to(np.asarray(lr, np.float32), shape[1:])).reshape(-1),
            None if row_scale is None else _vector(name, "row_scale", row_scale, len(p), np.float32),
            self.beta1,
            self.beta2,
            self.eps,
            self.steps,
            columns,
        )

    def select(self, index: Any) -> None:
        """Keeps the rows named by a boolean mask or an index array, which may repeat rows, in all arrays."""
        rows = _numpy(index)
        self._moments = {name: (m[rows], v[rows]) for name, (m, v) in self._moments.items()}

    def append(self, count: int) -> None:
        """Adds `count` rows of zero moments to all arrays."""

        def longer(a: np.ndarray) -> np.ndarray:
            return np.concatenate([a, np.zeros((count, *a.shape[1:]), np.float32)])

        self._moments = {name: (longer(m), longer(v)) for name, (m, v) in self._moments.items()}

    def zero(self, rows: Any = slice(None), name: str | None = None) -> None:
        """Forgets the moments of some rows, in one array or in all."""
        rows = rows if isinstance(rows, slice) else _numpy(rows)
        for key, moments in self._moments.items():
            if name is None or key == name:
                for moment in moments:
                    moment[rows] = 0

    def state(self) -> dict[str, np.ndarray]:
        """Arrays for a checkpoint: `steps`, and `<name>.m` and `<name>.v` (not copies)."""
        arrays: dict[str, np.ndarray] = {"steps": np.array(self.steps, dtype=np.int64)}
        for name, (m, v) in self._moments.items():
            arrays[f"{name}.m"], arrays[f"{name}.v"] = m, v
        return arrays

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes over what `state` returned; nothing is changed if it is not whole. Raises FormatError."""
        names = sorted({key[:-2] for key in state if key.endswith((".m", ".v"))})
        expected = {"steps", *(f"{name}.{moment}" for name in names for moment in "mv")}
        if set(state) != expected:
            raise FormatError("optimiser state", ", ".join(sorted(expected)), ", ".join(sorted(state)))
        if state["steps"].shape != () or state["steps"].dtype.kind != "i" or int(state["steps"]) < 0:
            raise FormatError("optimiser state", "steps to be a whole number >= 0", str(state["steps"]))
        moments = {}
        for name in names:
            m, v = state[f"{name}.m"], state[f"{name}.v"]
            if m.shape != v.shape or m.dtype != np.float32 or v.dtype != np.float32:
                raise FormatError(
                    "optimiser state",
                    f"two float32 arrays of one shape for {name}",
                    f"{m.dtype} {m.shape} and {v.dtype} {v.shape}",
                )
            moments[name] = np.array(m, order="C"), np.array(v, order="C")
        self.steps, self._moments = int(state["steps"]), moments


def _numpy(value: Any) -> np.ndarray:
    return value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)


def _matrix(name: str, what: str, value: Any) -> np.ndarray:
    """[n, k] float32 on the same memory."""
    array = _numpy(value)
    if array.dtype != np.float32 or array.ndim == 0 or not array.flags.c_contiguous:
        raise SceneRepError(
            f"Adam: {what} of {name} must be a contiguous float32 array, found {array.dtype} {array.shape}"
        )
    return array.reshape(len(array), int(np.prod(array.shape[1:])))


def _vector(name: str, what: str, value: Any, count: int, dtype: type) -> np.ndarray:
    array = np.ascontiguousarray(_numpy(value), dtype=dtype)
    if array.shape != (count,):
        raise SceneRepError(f"Adam: {what} of {name} has shape {array.shape}, expected ({count},)")
    return array
