"""Options of `scenerep compress rdo-gaussian`. No torch; the docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RdoGaussianConfig:
    """RDO-Gaussian (Wang et al. 2024): learned masks for Gaussians and SH bands, entropy-constrained vector
    quantisation with learned probabilities. --lambda is the weight of the Gaussians' masks, 0.0005 to 0.05 in the
    paper; that of the bands is ten times as much."""

    codewords: int | None = None
    """Size of the codebooks of scale, rotation and colour; those of SH bands have half of it. By default 8192, as in
    the paper, or a 128th of the Gaussians if that is less."""
    vq_lambda: float = 256.0
    """How much a unit of distance counts against a bit when a codeword is chosen."""
    simvq: bool = False
    """Learn one linear layer over frozen codewords (SimVQ) in place of the codewords."""
