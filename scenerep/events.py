"""What a trainer yields. A trainer prints nothing: the command line draws the bar, a test takes three steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Step:
    """One optimiser step.

    `seconds` counts the training loop of this run and of those that it resumes. `progress` in [0, 1] is the share of
    the budget (steps or minutes) that is used up; `seconds_left` is an estimate.
    """

    step: int
    loss: float
    count: int
    seconds: float
    progress: float
    seconds_left: float


@dataclass(frozen=True)
class Densified:
    """The number of primitives changed."""

    step: int
    before: int
    after: int


@dataclass(frozen=True)
class Evaluated:
    """Quality on the held-out views (all of them, or a small sample while training)."""

    step: int
    psnr: float
    ssim: float
    views: int


@dataclass(frozen=True)
class Scored:
    """How well a surface agrees with the mesh that it was learned from.

    f_score: Share in [0, 1] of points within 1 % of half the longest side. distance: Mean, in halves of that side.
    """

    step: int
    f_score: float
    distance: float


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class Warned:
    """Something that the user should know, said once."""

    message: str


@dataclass(frozen=True)
class Encoded:
    """What the scene of a compressor comes to at this moment."""

    step: int
    bytes: int
    count: int


@dataclass(frozen=True)
class Compressed:
    """The last event of a compressor: the whole file. `report` has JSON values about how it came about."""

    data: bytes
    report: dict[str, Any]


Event = Step | Densified | Evaluated | Scored | Saved | Warned | Encoded | Compressed
