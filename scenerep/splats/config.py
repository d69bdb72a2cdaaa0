"""Options of `scenerep train splats`. No torch; the docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class InitConfig:
    """Where the Gaussians start: at sparse points, as round blobs as wide as the space between neighbours."""

    points: int = 10_000
    """Points to start from (a random part of the capture's); the rest of the budget grows by splitting."""
    opacity: float = 0.8
    """Opacity at the start, in (0, 1)."""
    scale: float = 0.7
    """Standard deviation at the start, in units of the rms distance to the three nearest neighbours."""


@dataclass(frozen=True)
class DensifyConfig:
    """How the number of Gaussians changes while training. Shares are of the whole training."""

    strategy: Literal["budget", "mcmc", "classic"] = "budget"
    """budget: grow to the stated count by splitting along the long axis, never above. mcmc: relocate dead Gaussians and
    grow by 5 % at a time (3DGS as Markov chain Monte Carlo). classic: clone and split above a gradient threshold, with
    opacity resets (3D Gaussian Splatting)."""
    every: int = 50
    """Steps between two refinements."""
    grow_until: float = 0.65
    """Share of the training at which the budget is reached."""
    refine_until: float = 0.85
    """Share of the training after which nothing is added, moved or removed."""
    dead_opacity: float = 0.005
    """Gaussians below this opacity are used again elsewhere."""
    noise: float = 5e6
    """Strength of the random walk of faint Gaussians, in units of the position rate; 0 turns it off."""
    gradient_threshold: float = 2e-4
    """classic only: mean screen gradient (in half picture sizes) above which a Gaussian is cloned or split."""


@dataclass(frozen=True)
class RatesConfig:
    """Learning rates of Adam."""

    means: float = 5e-4
    """Of positions, in units of the scene's size; falls exponentially to a hundredth."""
    scales: float = 1e-2
    """Of the logarithms of the standard deviations."""
    quats: float = 1e-3
    """Of the orientations."""
    opacities: float = 5e-2
    """Of the opacities, before the sigmoid."""
    sh0: float = 2.5e-3
    """Of the constant colour."""
    sh: float = 5e-4
    """Of the view-dependent colour."""
    cool_from: float = 0.8
    """Share of the training from which all rates but the positions' fall to a fifth."""


@dataclass(frozen=True)
class LossConfig:
    """What is minimised."""

    ssim: float = 0.2
    """Weight of D-SSIM against L1."""
    opacity: float = 0.01
    """Weight of the mean opacity: unneeded Gaussians fade away."""
    scale: float = 0.01
    """Weight of the mean standard deviation, in units of the scene's size."""
    regularise_until: float = 0.9
    """Share of the training after which the two weights above are 0."""
    depth: float = 0.1
    """Weight of the depth error where the capture has depth, in units of the scene's size."""


@dataclass(frozen=True)
class SplatsConfig:
    """Train Gaussian splats from a capture."""

    quality: Literal["fast", "medium", "high"] = "medium"
    """Preset of time and size: fast 1 minute and 80 000 Gaussians, medium 5 and 150 000, high 15 and 300 000."""
    minutes: float | None = None
    """Train for this long, wall clock; schedules adapt to the machine's speed. Overrides the preset."""
    steps: int | None = None
    """Train for this many steps instead; the same steps and seed give the same scene, also when interrupted."""
    max_gaussians: int | None = None
    """Never more Gaussians than this. Overrides the preset."""
    sh_degree: Literal[0, 1, 2, 3] = 3
    """Degree of the view-dependent colour."""
    antialiased: bool = False
    """Lower the opacity of Gaussians smaller than a pixel, so that the scene looks right from further away."""
    background: Literal["auto", "black", "white", "random"] = "auto"
    """Colour behind the scene. auto: white where the pictures have transparency, black elsewhere."""
    exposure: bool = False
    """Learn a colour correction per picture (3x4 affine): for captures whose exposure or white balance changes."""
    pose: bool = False
    """Refine the cameras' poses while training. Only for poses that are clearly wrong: good ones lose a little."""
    coarse: bool = True
    """Start at a lower resolution (--no-coarse: at the full one)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a CUDA device where there is one."""
    save_seconds: float = 60.0
    """Time between two checkpoints."""
    init: InitConfig = field(default_factory=InitConfig)
    densify: DensifyConfig = field(default_factory=DensifyConfig)
    rates: RatesConfig = field(default_factory=RatesConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def resolved_minutes(self) -> float | None:
        """Minutes of the time budget, or None if `steps` rules."""
        if self.steps is not None:
            return None
        return self.minutes if self.minutes is not None else {"fast": 1.0, "medium": 5.0, "high": 15.0}[self.quality]

    def resolved_max_gaussians(self) -> int:
        """The budget. Without a stated one, short trainings get fewer: what is added late is not trained."""
        if self.max_gaussians is not None:
            return self.max_gaussians
        preset = {"fast": 80_000, "medium": 150_000, "high": 300_000}[self.quality]
        minutes = self.resolved_minutes()
        if minutes is None:
            return preset
        return min(preset, max(20_000, int(80_000 * minutes**0.5))) if self.minutes is not None else preset
