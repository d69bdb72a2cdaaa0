"""The constants of rasterisation; `native/constants.h` repeats them and a test compares the two.

They are those of gsplat's classic mode. docs/rasterisation.md says where each of them acts.
"""

from __future__ import annotations

LOW_PASS = 0.3
"""Added to both variances of the projected covariance [px^2], so that no Gaussian falls between the pixels."""

ALPHA_MAX = 0.999
"""Largest opacity of one Gaussian at one pixel: keeps 1 - alpha, which the gradient divides by, away from 0."""

ALPHA_MIN = 1.0 / 255.0
"""A Gaussian is skipped at pixels where its alpha is below this."""

TRANSMITTANCE_STOP = 1e-4
"""A pixel is done before the Gaussian that would take its transmittance to this value or below."""

NEAR = 0.01
"""Gaussians whose centre has a camera z below this are culled [world units]."""

FAR = 1e10
"""Gaussians whose centre has a camera z above this are culled [world units]."""

CLAMP = 0.3
"""The Jacobian of the projection is taken inside the picture widened on each side by this share of half its size."""

MEDIAN_TRANSMITTANCE = 0.5
"""The median depth is that of the Gaussian which takes the transmittance below this."""
