"""Options of `scenerep train voxels`. No torch; the docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

_MINUTES = {"fast": 1.0, "medium": 5.0, "high": 15.0}
_RESOLUTION = {"fast": 160, "medium": 224, "high": 288}


@dataclass(frozen=True)
class VoxelRatesConfig:
    """Learning rates of Adam, which steps only the voxels that the batch's rays have touched."""

    density: float = 0.3
    """Of the raw density."""
    colour: float = 0.1
    """Of the colour."""
    fall: float = 0.1
    """What is left of both rates at the end; they fall exponentially."""


@dataclass(frozen=True)
class SmoothConfig:
    """Weights of the total variation of what the rays have touched."""

    density: float = 0.0
    """Of the raw density."""
    colour: float = 1e-8
    """Of the colour."""


@dataclass(frozen=True)
class VoxelsConfig:
    """Train a radiance field on a voxel grid from a capture."""

    quality: Literal["fast", "medium", "high"] = "medium"
    """Preset of time and size: fast 1 minute and 160 voxels a side, medium 5 and 224, high 15 and 288."""
    minutes: float | None = None
    """Train for this long, wall clock; schedules adapt to the machine's speed. Overrides the preset."""
    steps: int | None = None
    """Train for this many steps instead; the same steps and seed give the same scene, also when interrupted."""
    resolution: int | None = None
    """Voxels along the side of a cube of the grid's volume. Overrides the preset."""
    rays: int = 2048
    """Rays in a step. On a CPU many small steps learn more than few large ones."""
    patch: int = 2
    """Rays are drawn in squares of so many pixels a side, which share voxels."""
    sh_degree: Literal[0, 1] = 1
    """Degree of the view-dependent colour."""
    space: Literal["auto", "box", "unbounded"] = "auto"
    """box: nothing but the object in a box, where pictures have alpha or masks (auto takes it there). unbounded: the
    surroundings are contracted into a shell around the box of what the cameras look at."""
    background: Literal["auto", "black", "white", "random"] = "auto"
    """Colour behind the scene. auto: white where the pictures have transparency, black elsewhere."""
    sparsity: float = 1e-7
    """Weight of the densities in the loss: clears the air of what no ray needs."""
    grow_until: float = 0.3
    """Share of the training at which the grid has its full resolution; it doubles before."""
    save_seconds: float = 60.0
    """Time between two checkpoints."""
    rates: VoxelRatesConfig = field(default_factory=VoxelRatesConfig)
    smooth: SmoothConfig = field(default_factory=SmoothConfig)

    def resolved_minutes(self) -> float | None:
        """Minutes of the time budget, or None if `steps` rules."""
        if self.steps is not None:
            return None
        return self.minutes if self.minutes is not None else _MINUTES[self.quality]

    def resolved_resolution(self) -> int:
        """Voxels along the side of a cube of the grid's volume. Short trainings get fewer."""
        if self.resolution is not None:
            return self.resolution
        preset = _RESOLUTION[self.quality]
        minutes = self.resolved_minutes()
        if minutes is None or self.minutes is None:
            return preset
        return min(preset, max(96, round(160 * minutes**0.2)))


@dataclass(frozen=True)
class MipVoxelsConfig(VoxelsConfig):
    """Train an anti-aliased radiance field on a pyramid of voxel grids from a capture (after Mip-VoG)."""

    levels: int = 4
    """Levels of the pyramid, each half as fine as the one before."""
    scales: int = 4
    """Train on the pictures at 1, 1/2, 1/4, ... of their size: how many of these."""
    network_rate: float = 2e-3
    """Learning rate of the network that adds what changes with the view."""
