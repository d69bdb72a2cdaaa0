"""The steps and conventions by which a splat scene becomes integers, and the integers a scene again.

n = Gaussians, k = SH coefficients above the constant one (0, 3, 8 or 15). Every step is a float32: an integer below
2^24 over a power of two. An integer of ours is below 2^24 too, so integer * step is exact in float64, on any machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from scenerep.errors import ConfigError

MAX_DEPTH = 20
"""Levels of the octree at most: a Morton code of 60 bits fits 64."""
INTEGER_LIMIT = 1 << 24
"""Every quantised attribute is smaller than this in magnitude."""

_STEPS = ("position", "log_scale", "rotation", "opacity", "colour_luma", "colour_chroma")


@dataclass(frozen=True)
class Quantiser:
    """Origin, steps and flags of a quantised scene. Steps are rounded to float32 when they are set.

    Raises:
        ConfigError: a step is not a positive float32, the depth is not in 1..20, or the bands disagree.
    """

    origin: tuple[float, float, float]
    """Place of the grid point (0, 0, 0), float64: a world position if the grid is not contracted."""
    position: float
    """Distance of grid points, world units (near the centre, if the grid is contracted)."""
    depth: int
    """Octree levels: grid coordinates are in 0 .. 2^depth - 1."""
    log_scale: float = 0.12
    """Step of the natural logarithm of the standard deviations."""
    rotation: float = 0.04
    """Step of the rotation vector 2 v / (1 + w) of the quaternion (w, v), w >= 0: about half an angle in radians."""
    opacity: float = 1 / 64
    """Step of the opacity after the sigmoid."""
    colour_luma: float = 1 / 64
    """Step of the luma of the constant colour, in display values (the whole range is 1)."""
    colour_chroma: float = 1 / 32
    """Step of its chroma. An error of the chroma counts half of one of the luma in RGB, hence twice the step."""
    sh_luma: tuple[float, ...] = ()
    """Step of the luma of the SH coefficients, one for each band from 1 up; the number of bands is the SH degree."""
    sh_chroma: tuple[float, ...] = ()
    """Step of their chroma, likewise."""
    canonical: bool = False
    """Whether rotations and scales are in canonical form (scales descending, see canonical.py)."""

    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the contraction, world units, float64."""
    radius: float = 0.0
    """0: the grid is even. Else it is even only up to this distance from the centre along each axis; beyond it the
    distance of its points grows in proportion to that from the centre: for captures with a far background."""

    def __post_init__(self) -> None:
        for name in _STEPS:
            object.__setattr__(self, name, _step(name, getattr(self, name)))
        for name in ("sh_luma", "sh_chroma"):
            object.__setattr__(self, name, tuple(_step(name, value) for value in getattr(self, name)))
        for name in ("origin", "centre"):
            point = tuple(float(x) for x in getattr(self, name))
            object.__setattr__(self, name, point)
            if len(point) != 3 or not all(math.isfinite(x) for x in point):
                raise ConfigError(f"the {name} of a grid is three finite numbers, not {point}")
        if self.radius:
            object.__setattr__(self, "radius", _step("radius", self.radius))
        if not 1 <= self.depth <= MAX_DEPTH:
            raise ConfigError(f"an octree of depth {self.depth} is not supported", f"use 1 to {MAX_DEPTH}")
        if len(self.sh_luma) != len(self.sh_chroma) or len(self.sh_luma) > 3:
            raise ConfigError("sh_luma and sh_chroma need one step each for every band, up to three bands")

    @property
    def sh_degree(self) -> int:
        return len(self.sh_luma)

    @property
    def coefficients(self) -> int:
        """SH coefficients above the constant one: 0, 3, 8 or 15."""
        return (self.sh_degree + 1) ** 2 - 1

    def sh_steps(self) -> np.ndarray:
        """float64 [k, 3]: the step of each coefficient's luma and two chromas."""
        rows = [
            (luma, chroma, chroma)
            for band, (luma, chroma) in enumerate(zip(self.sh_luma, self.sh_chroma), start=1)
            for _ in range(2 * band + 1)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def contract(self, world: np.ndarray) -> np.ndarray:
        """World positions [n, 3] to the space of the grid."""
        return contract(world, self.centre, self.radius)

    def expand(self, grid: np.ndarray) -> np.ndarray:
        """Positions [n, 3] in the space of the grid to the world."""
        return expand(grid, self.centre, self.radius)

    def to_dict(self) -> dict:
        """Plain values, for logs."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def contract(world: np.ndarray, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """World positions [n, 3] to the space of the grid, float64: u = x - centre along each axis, and where |u| > radius
    u becomes sign(u) radius (1 + ln(|u| / radius)). Radius 0 changes nothing, the centre included.
    """
    world = np.asarray(world, dtype=np.float64)
    if not radius:
        return world
    u = world - centre
    ratio = np.maximum(np.abs(u) / radius, 1)
    return np.where(ratio > 1, np.sign(u) * radius * (1 + np.log(ratio)), u)


def expand(grid: np.ndarray, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """The inverse of `contract`: where |u| > radius, u becomes sign(u) radius exp(|u| / radius - 1)."""
    if not radius:
        return grid
    ratio = np.abs(grid) / radius
    # exp(80) radii are far beyond any scene; a broken file must not overflow.
    far = np.sign(grid) * radius * np.exp(np.clip(ratio - 1, 0, 80))
    return centre + np.where(ratio > 1, far, grid)


def grid_for(
    means: np.ndarray, position: float, *, centre: tuple[float, float, float] = (0.0, 0.0, 0.0), radius: float = 0.0
) -> tuple[tuple[float, float, float], int]:
    """Origin and depth of the smallest grid of step `position` that holds all centres [n, 3].

    Args:
        centre, radius: Of the contraction, as in `Quantiser`; radius 0 makes an even grid.

    Raises:
        ConfigError: the extent of the scene needs more than 2^20 steps.
    """
    position = _step("position", position)
    if len(means) == 0:
        return (0.0, 0.0, 0.0), 1
    places = contract(means, centre, radius)
    low = places.min(axis=0)
    extent = float((places.max(axis=0) - low).max())
    steps = math.floor(extent / position + 0.5)
    depth = max(1, steps.bit_length())
    if depth > MAX_DEPTH:
        raise ConfigError(
            f"a position step of {position:g} divides this scene more than 2^{MAX_DEPTH} times",
            f"use at least {extent / (2**MAX_DEPTH - 1):.3g}, a contracted grid, or remove what lies far out",
        )
    return (float(low[0]), float(low[1]), float(low[2])), depth


def focus_of(means: np.ndarray) -> tuple[tuple[float, float, float], float]:
    """Centre and radius of a contraction for a scene: the middle of its centres [n, 3], and how far 90 % of them reach.

    For a bounded scene a contraction with these costs nothing and gains nothing: few Gaussians lie outside.
    """
    if len(means) == 0:
        return (0.0, 0.0, 0.0), 1.0
    middle = np.median(np.asarray(means, dtype=np.float64), axis=0)
    reach = np.quantile(np.abs(means - middle).max(axis=1), 0.9)
    return (float(middle[0]), float(middle[1]), float(middle[2])), max(float(reach), 1e-6)


def _step(name: str, value: float) -> float:
    rounded = float(np.float32(value))
    # Subnormal steps are refused: their products need not be exact everywhere.
    if not (math.isfinite(rounded) and rounded >= 2.0**-100):
        raise ConfigError(f"{name}: a quantisation step must be a positive number, not {value}")
    return rounded
