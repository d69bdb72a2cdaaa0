"""`scenerep train METHOD`: a capture in, a run out."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.extras import SubcommandApp

from scenerep.cli.common import EXIT_DONE
from scenerep.cli.training import (
    find_points,
    open_field_subject,
    open_training_capture,
    refuse_viewer,
    report,
    run_training,
    save_points,
)
from scenerep.registry import METHODS, Method, load

if TYPE_CHECKING:
    from scenerep.captures import Points
    from scenerep.runs import Run

_SIDES = ((5.0, 480), (10.0, 640), (float("inf"), 960))
"""Minutes of training up to which pictures have this longer side, in pixels: what a CPU gets through often enough."""


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """What every method's training is told, whatever the method."""

    data: Path
    """The capture: a folder made by `scenerep data`, COLMAP, nerfstudio, Blender, LLFF, ... For `train field` also a
    picture or a mesh (.obj, .ply, .glb, .stl, .off)."""
    out: Path | None = None
    """The run's folder. Default: runs/CAPTURE/METHOD/TIME, with a link `latest` beside it."""
    max_side: int | None = None
    """Reduce pictures to this longer side, in pixels. Default: 480 for up to 5 minutes, 640 up to 10, 960 beyond; the
    one picture of `train field` is left as it is."""
    test_every: int = 8
    """Hold out every n-th picture to measure quality on; 0 trains on all (where the capture does not say itself)."""
    seed: int = 0
    """Seed of all random numbers: the same seed on the same machine gives the same scene."""
    overwrite: bool = False
    """Replace the run that is in --out already."""
    viewer: bool = False
    """Watch the training in a browser."""
    port: int = 8080
    """Port of the viewer, on this machine only."""
    tensorboard: bool = False
    """Write scalars for TensorBoard into the run's folder."""
    json: bool = False
    """Print the result as one JSON object."""


def train(method: str, options: TrainOptions, config: Any, points: Points | None = None) -> int:
    """Trains `method` on a capture; see TrainOptions.

    Args:
        points: To start from, instead of the capture's.
    """
    from scenerep.io.camera_path import write_camera_path

    if METHODS[method].reads == "subject":
        return _train_on_subject(method, options, config)
    max_side = _default_side(config) if options.max_side is None else options.max_side
    capture = open_training_capture(options.data, max_side, options.test_every)
    if points is None and METHODS[method].points and (capture.points is None or len(capture.points) == 0):
        points = find_points(capture, options.seed)
    if points is not None:
        capture = capture.with_points(points)

    def keep(run: Run) -> None:
        write_camera_path([capture.camera(i) for i in capture.train], run.path / "cameras.json")
        if points is not None:
            save_points(run.path / "points.npz", points)

    return _train_run(method, options, config, options.data.resolve().name, capture, max_side, keep)


def _train_on_subject(method: str, options: TrainOptions, config: Any) -> int:
    """The same for a method that reads a picture, a mesh or a capture."""
    from scenerep.implicit.radiance import RadianceSubject
    from scenerep.io.camera_path import write_camera_path

    refuse_viewer(method, options.viewer)
    folder, max_side = options.data.is_dir(), options.max_side
    if folder and max_side is None:
        max_side = _default_side(config)
    subject = open_field_subject(options.data, max_side, options.test_every, config)

    def keep(run: Run) -> None:
        if isinstance(subject, RadianceSubject):
            capture = subject.capture
            write_camera_path([capture.camera(i) for i in capture.train], run.path / "cameras.json")

    name = options.data.resolve().name if folder else options.data.resolve().stem
    return _train_run(method, options, config, name, subject, max_side, keep)


def _train_run(
    method: str,
    options: TrainOptions,
    config: Any,
    name: str,
    subject: Any,
    max_side: int | None,
    keep: Callable[[Run], None] = lambda run: None,
) -> int:
    """Makes the run, trains on the capture or file that `subject` is, and reports.

    Args:
        name: Of the folder below `runs`.
        keep: Puts what belongs to the run into its folder.
    """
    from scenerep.runs import Run, default_run_path, link_latest

    run = Run.create(
        options.out or default_run_path(name, method),
        method,
        config,
        options.data,
        seed=options.seed,
        max_side=max_side,
        test_every=options.test_every,
        overwrite=options.overwrite,
    )
    try:
        keep(run)
        code = run_training(
            run, subject, config, viewer=options.viewer, port=options.port, tensorboard=options.tensorboard
        )
    finally:
        if not any((run.path / "checkpoints").glob("step_*")):
            shutil.rmtree(run.path, ignore_errors=True)  # nothing came of it: leave nothing in the way of the next try
        elif options.out is None:
            link_latest(run.path)
    if code == EXIT_DONE:
        report(run, json=options.json)
    return code


def _default_side(config: Any) -> int:
    minutes = config.resolved_minutes()
    if minutes is None:  # a budget of steps: as for the time that the preset stands for
        minutes = dataclasses.replace(config, steps=None, minutes=None).resolved_minutes()
    return next(side for limit, side in _SIDES if minutes <= limit)


def _command(name: str, method: Method) -> Callable[..., int]:
    """The command of one method: the common options and the fields of its configuration, side by side."""

    def command(options: Any, config: Any) -> int:
        return train(name, options, config)

    # tyro reads the types from here; they are not known before the registry is.
    command.__annotations__ = {
        "options": Annotated[TrainOptions, tyro.conf.arg(name="")],
        "config": Annotated[load(method.config), tyro.conf.arg(name="")],
        "return": int,
    }
    command.__doc__ = method.help
    return command


def build_app() -> SubcommandApp:
    """One command for each method of the registry."""
    app = SubcommandApp()
    for name, method in METHODS.items():
        app.command(name=name, help=method.help)(_command(name, method))
    return app
