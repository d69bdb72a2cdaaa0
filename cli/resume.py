"""`scenerep resume RUN`: train on from the last checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from scenerep.cli.common import EXIT_DONE, say, short
from scenerep.cli.training import (
    find_points,
    load_points,
    open_field_subject,
    open_training_capture,
    refuse_viewer,
    report,
    run_training,
    save_points,
)
from scenerep.errors import ConfigError

if TYPE_CHECKING:
    from scenerep.captures import Capture
    from scenerep.runs import Run


def resume(
    run: Annotated[Path, tyro.conf.Positional],
    steps: int | None = None,
    minutes: float | None = None,
    data: Path | None = None,
    viewer: bool = False,
    port: int = 8080,
    tensorboard: bool = False,
    json: bool = False,
) -> int:
    """Train a run on from its last checkpoint: after an interruption, or with a larger budget.

    Args:
        run: The run's folder, or the link `latest`.
        steps: Steps in all, those already done included. Default: as the run was started with.
        minutes: Minutes of training in all, those already spent included. Default: as the run was started with.
        data: Where the capture (or the file) is now, if it was moved.
        viewer: Watch the training in a browser.
        port: Port of the viewer, on this machine only.
        tensorboard: Write scalars for TensorBoard into the run's folder.
        json: Print the result as one JSON object.
    """
    from scenerep.registry import METHODS, load
    from scenerep.runs import Run

    found = Run.open(run)
    if found.method not in METHODS:
        raise ConfigError(f"{found.path}: unknown method {found.method!r}", f"known: {', '.join(METHODS)}")
    config = found.typed_config(load(METHODS[found.method].config))
    checkpoint = found.latest_checkpoint(names=())
    done = checkpoint.step if checkpoint else 0
    seconds = float(checkpoint.state.get("seconds", 0.0)) if checkpoint else 0.0
    config = _new_budget(config, steps, minutes, done, seconds)
    if METHODS[found.method].reads == "subject":
        refuse_viewer(found.method, viewer)
        subject = open_field_subject(data or found.data, found.max_side, found.test_every, config)
    else:
        subject = _capture(found, data)
    found.set_config(config)
    found.rewind(done)
    say(f"resuming {short(found.path)} at step {done}")
    code = run_training(found, subject, config, viewer=viewer, port=port, tensorboard=tensorboard)
    if code == EXIT_DONE:
        last = found.latest_checkpoint(names=())
        if last is not None and last.step == done:
            say("the budget was used up already; give a larger one with --minutes or --steps")
        report(found, json=json)
    return code


def _capture(found: Run, data: Path | None) -> Capture:
    """The run's capture, with the points that it was started from."""
    from scenerep.registry import METHODS

    capture = open_training_capture(data or found.data, found.max_side, found.test_every)
    points = load_points(found.path / "points.npz")  # kept where the capture has none, or others were given
    if points is None and METHODS[found.method].points and not capture.points:
        points = find_points(capture, found.seed)
        save_points(found.path / "points.npz", points)
    return capture if points is None else capture.with_points(points)


def _new_budget(config: Any, steps: int | None, minutes: float | None, done: int, seconds: float) -> Any:
    """The configuration with what was asked for; a ConfigError if that is used up already."""
    if steps is not None and steps <= done:
        hint = f"--steps counts from the beginning: give more than {done}"
        raise ConfigError(f"the run has done {done} steps already", hint)
    if minutes is not None and minutes * 60 <= seconds:
        hint = f"--minutes counts from the beginning: give more than {seconds / 60:.1f}"
        raise ConfigError(f"the run was trained for {seconds / 60:.1f} minutes already", hint)
    if steps is None and minutes is None:
        return config
    # Whichever was asked for rules alone: the budget of before is spent, or was the other one.
    return dataclasses.replace(config, steps=steps, minutes=minutes)
