"""Settings of the `dct` codec."""

from __future__ import annotations

from dataclasses import dataclass

from scenerep.codecs.base import Goal, Preset
from scenerep.errors import ConfigError

EFFORTS = {"fast": 0, "medium": 1, "slow": 2}


@dataclass(frozen=True)
class DctSettings:
    """What to reach, and how long to search. At most one of quality, psnr, size and lam."""

    preset: Preset = "medium"
    """How many modes and sizes are tried."""
    quality: float | None = None
    """0 (smallest) to 100 (nearly without loss), the one knob behind all others."""
    psnr: float | None = None
    size: int | None = None
    lam: float | None = None

    def __post_init__(self) -> None:
        goal = Goal(None, self.psnr, self.size, self.lam)
        if self.quality is not None:
            if not 0 <= self.quality <= 100:
                raise ConfigError(f"quality is {self.quality}", "use 0 to 100")
            if any(value is not None for value in vars(goal).values()):
                raise ConfigError("quality and another goal cannot be had together", "give one of them")
        if self.preset not in EFFORTS:
            raise ConfigError(f"there is no preset {self.preset!r}", f"use one of: {', '.join(EFFORTS)}")
