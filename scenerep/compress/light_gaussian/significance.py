"""Global significance of LightGaussian: who contributes how much to the pictures, and by how much volume."""

from __future__ import annotations

import numpy as np

_VOLUME_RANK = 0.9
_VOLUME_POWER = 0.1


def global_significance(weights: np.ndarray, log_scales: np.ndarray) -> np.ndarray:
    """float64 [n]: weight times (V / V_90)^0.1 (Fan et al. 2024, equations 3 and 4).

    V is the product of the scales, V_90 that at rank 0.9 n of the volumes by descending size. The power has no upper
    limit, as in the published code.

    Args:
        weights: Sum over all pixels of all training views of opacity times transmittance, [n].
        log_scales: [n, 3].
    """
    volume = log_scales.astype(np.float64).sum(axis=1)
    if len(volume) == 0:
        return np.zeros(0)
    typical = np.sort(volume)[::-1][int(_VOLUME_RANK * len(volume))]
    return weights * np.exp(_VOLUME_POWER * (volume - typical))
