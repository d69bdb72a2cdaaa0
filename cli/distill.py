"""`scenerep distill RUN --to splats`: from one family of representations to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from scenerep.cli.common import say, stage_progress
from scenerep.cli.sources import open_source, require_content
from scenerep.cli.train import TrainOptions, train
from scenerep.errors import ConfigError
from scenerep.splats.config import SplatsConfig

_POINTS = 100_000


@dataclass(frozen=True)
class DistillOptions:
    """What is distilled, and where to."""

    source: tyro.conf.Positional[Path]
    """The run of a voxel field."""
    to: Literal["splats"] = "splats"
    """What to make of it."""
    data: Path | None = None
    """The capture. Default: the one that the field was trained on."""
    out: Path | None = None
    """The new run's folder. Default: runs/CAPTURE/splats/TIME."""
    seed: int = 0
    """Seed of all random numbers."""
    overwrite: bool = False
    """Replace the run that is in --out already."""
    viewer: bool = False
    """Watch the training in a browser."""
    port: int = 8080
    """Port of the viewer, on this machine only."""
    json: bool = False
    """Print the result as one JSON object."""


def distill(
    options: Annotated[DistillOptions, tyro.conf.arg(name="")],
    config: Annotated[SplatsConfig, tyro.conf.arg(name="")],
) -> int:
    """Make splats of a voxel field: they start on its surfaces, in its colours, and are trained on its photographs."""
    from scenerep.scenes import MipVoxels, Voxels
    from scenerep.voxel_training.distill import surface_points

    opened = open_source(options.source)
    require_content(opened)
    if not isinstance(opened.scene, Voxels | MipVoxels) or opened.run is None:
        raise ConfigError(f"{options.source} is no run of a voxel field", "train one: scenerep train voxels --data ...")
    capture = opened.capture(options.data)
    with stage_progress() as progress:
        cameras = [capture.camera(i) for i in capture.train]
        points = surface_points(opened.scene, cameras, _POINTS, options.seed, progress)
    say(f"{len(points):,} points on the field's surfaces")
    common: dict[str, Any] = {name: getattr(options, name) for name in ("out", "seed", "overwrite", "viewer", "port")}
    training = TrainOptions(
        data=options.data or opened.run.data,
        max_side=opened.run.max_side,
        test_every=opened.run.test_every,
        json=options.json,
        **common,
    )
    return train("splats", training, config, points)
