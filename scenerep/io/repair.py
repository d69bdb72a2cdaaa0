"""From a file's numbers to a scene: values that are not finite are repaired or left out, and counted."""

from __future__ import annotations

import numpy as np

from scenerep.scenes import Gaussians

# exp(30) and sigmoid(30) are beyond what any picture resolves: the finite stand-ins for infinite logits and log scales.
_FINITE = 30.0


def finite_scene(arrays: dict[str, np.ndarray], metadata: dict[str, object], antialiased: bool = False) -> Gaussians:
    """The scene of five writable float32 arrays, which are repaired in place where needed; see `_repair`."""
    arrays = _repair(arrays, metadata)
    return Gaussians(
        arrays["means"],
        arrays["log_scales"],
        arrays["quats"],
        arrays["opacity_logits"],
        arrays["sh"],
        antialiased=antialiased,
        metadata=metadata,
    )


def _repair(arrays: dict[str, np.ndarray], metadata: dict[str, object]) -> dict[str, np.ndarray]:
    """Make the five arrays of a scene finite, in place where possible, and count in `metadata` what that took.

    Files in the wild hold opacity 1 as +inf, flat Gaussians as log scale -inf, and NaN where training failed. Infinite
    logits and log scales become +-30 (`repaired_values`); rows with anything else that is not finite, or with a zero
    quaternion, are left out (`dropped_gaussians`).
    """
    with np.errstate(invalid="ignore"):  # sums of infinities of both signs
        return _finite_rows(arrays, metadata)


def _finite_rows(arrays: dict[str, np.ndarray], metadata: dict[str, object]) -> dict[str, np.ndarray]:
    repaired = 0
    for name in ("opacity_logits", "log_scales"):
        array = arrays[name]
        if np.isfinite(np.sum(array, dtype=np.float64)):
            continue
        infinite = np.isinf(array)
        repaired += int(infinite.sum())
        array[infinite] = np.copysign(np.float32(_FINITE), array[infinite])
    if repaired:
        metadata["repaired_values"] = repaired
    keep = np.any(arrays["quats"] != 0, axis=1)
    for array in arrays.values():
        # The sum in float64 cannot overflow, so it is finite exactly if every value is: much faster than isfinite.
        if not np.isfinite(np.sum(array, dtype=np.float64)):
            keep &= np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not keep.all():
        metadata["dropped_gaussians"] = int((~keep).sum())
        return {name: array[keep] for name, array in arrays.items()}
    return arrays
