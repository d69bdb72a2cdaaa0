"""Options of `scenerep compress compgs`. No torch; the docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CompgsConfig:
    """CompGS (Liu et al. 2024): anchors, and coupled primitives that small networks predict from an embedding of the
    anchor and a residual of their own."""

    coupled: int = 10
    """Primitives of an anchor."""
    reference: int = 32
    """Numbers in the embedding of an anchor."""
    residual: int = 16
    """Numbers in the residual embedding of a primitive; those that are not worth their bits become 0."""
    width: int = 48
    """Neurons of the hidden layers that predict primitives."""
    sh_degree: Literal[0, 1, 2, 3] = 3
    """Degree of view-dependent colour that is predicted, if the scene has as much."""
    primitive_bits: float = 40.0
    """Bits that a primitive is taken to cost when it is decided which to keep."""
    recovery: float = 0.2
    """Share of the error of a removal that fine-tuning is expected to leave."""
    prefit: int = 250
    """Steps that fit networks and embeddings to the scene itself before they are fitted to the pictures."""
