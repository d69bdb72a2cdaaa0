"""Options of `scenerep compress rdo`. No torch; the docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RdoConfig:
    """Everything under one objective: distortion + lambda * bits. The switches are there to measure what each part
    gives."""

    prune: bool = True
    """Remove Gaussians whose bits cost more than their absence would."""
    fine_tune: bool = True
    """Train on between the decisions, where there are photographs."""
    shrink: bool = True
    """While fine-tuning, pull what is coded towards its prediction, by the slope of the bits."""
    quantised_training: bool = True
    """Fine-tune with the quantised values, straight through the rounding."""
    rdoq: bool = True
    """Round view-dependent colour towards zero where the bits saved are worth it."""
    search: bool = True
    """Choose the steps by the curvature of the error; otherwise, fixed steps in the same proportions scale together."""
    canonical: Literal["auto", "yes", "no"] = "auto"
    """Canonical form of rotations and scales; auto: whichever is smaller."""
    layers: int = 4
    """Layers of a progressive file, the most important Gaussians first; 1 for none."""
    sh_degree: Literal[0, 1, 2, 3] = 3
    """Highest degree of view-dependent colour to keep."""
    caution: float = 8.0
    """Rounding view-dependent colour towards zero has to save this many times what its error seems to be worth: such
    errors have the same sign in neighbouring Gaussians and add up."""
    recovery: float = 0.2
    """Share of the error of a removal that fine-tuning is expected to leave."""
