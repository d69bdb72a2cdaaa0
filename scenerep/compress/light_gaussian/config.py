"""Options of `scenerep compress light-gaussian`. No torch; the docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LightGaussianConfig:
    """LightGaussian (Fan et al. 2024): prune by global significance, distil the view-dependent colour, quantise what
    matters least by vectors. There is no lambda: --prune or a preset says how far to go."""

    prune: float | None = None
    """Share of the Gaussians to remove; 0.66 in the paper. By default what --quality says."""
    exact: float = 0.4
    """Share of the remaining Gaussians, the most significant, whose colour is coded as numbers."""
    codewords: int | None = None
    """Size of the codebook. By default 8192, as in the paper, or an eighth of the Gaussians if that is less."""
    distil: bool = True
    """Reduce view-dependent colour of degree 3 to degree 2."""
    simvq: bool = False
    """Learn one linear layer over frozen codewords (SimVQ) in place of the codewords."""
