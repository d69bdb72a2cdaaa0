"""The loop that `train` and `resume` share: events to the screen, the viewer and TensorBoard; Ctrl-C saves."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenerep.cli.common import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    Interrupts,
    format_bytes,
    print_json,
    print_table,
    say,
    short,
    stage_progress,
)
from scenerep.cli.display import TrainingDisplay
from scenerep.errors import ConfigError, DeviceError
from scenerep.events import Densified, Evaluated, Event, Saved, Scored, Step

if TYPE_CHECKING:
    from scenerep.captures.capture import Capture, Points
    from scenerep.implicit.config import FieldConfig
    from scenerep.implicit.subjects import Subject
    from scenerep.runs import Run
    from scenerep.scenes import Gaussians, Scene

_SNAPSHOT_SECONDS = 2.0  # the live view copies the whole scene each time


def open_training_capture(path: Path, max_side: int | None, test_every: int) -> Capture:
    """Opens a capture and says on stderr what its reader found odd."""
    from scenerep.data_tools import open_capture

    capture = open_capture(path, max_side=max_side, test_every=test_every)
    for warning in capture.warnings:
        say(f"warning: {warning}")
    return capture


def open_field_subject(path: Path, max_side: int | None, test_every: int, config: FieldConfig) -> Subject:
    """What a coordinate network is trained on: a capture's folder, or a picture or mesh."""
    from scenerep.implicit.radiance import RadianceSubject
    from scenerep.implicit.subjects import open_subject

    if path.is_dir():
        if not 16 <= config.resolution <= 512:
            raise ConfigError(f"--resolution is {config.resolution}", "give 16 to 512 voxels a side")
        return RadianceSubject(open_training_capture(path, max_side, test_every), config.resolution)
    return open_subject(path, max_side, config.background)


def find_points(capture: Capture, seed: int) -> Points:
    """Initial points of a capture that has none: triangulated from its training pictures, with a bar on stderr."""
    from scenerep.data_tools.triangulate import initial_points

    with stage_progress() as progress:
        return initial_points(capture, seed=seed, progress=progress)


def refuse_viewer(method: str, wanted: bool) -> None:
    """Raise a ConfigError if a viewer is wanted of a method that has nothing to fly through."""
    if wanted:
        raise ConfigError(f"--viewer cannot show `train {method}`", "leave it out; eval draws a picture of the result")


def save_points(path: Path, points: Points) -> None:
    """Keeps the initial points beside the run, so that resuming need not find them again."""
    import numpy as np

    from scenerep.checkpoints import write_whole

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, xyz=points.xyz, rgb=points.rgb)

    write_whole(path, write)


def load_points(path: Path) -> Points | None:
    """What `save_points` kept; None if there is nothing, or if it cannot be read (it can be found again)."""
    import numpy as np

    from scenerep.captures.capture import Points

    if not path.exists():
        return None
    try:
        with np.load(path) as file:
            return Points(file["xyz"], file["rgb"])
    except (OSError, ValueError, KeyError):
        say(f"warning: {path} is damaged; the initial points are searched for again")
        return None


def run_training(
    run: Run, subject: Any, config: Any, *, viewer: bool = False, port: int = 8080, tensorboard: bool = False
) -> int:
    """Trains until the budget is used up or a signal comes. Returns EXIT_DONE or EXIT_INTERRUPTED.

    `subject` is the capture, or what `open_field_subject` has opened.

    Closing the trainer's iterator makes it save (see registry.Method), so an interrupted run can always be resumed.
    """
    from scenerep.registry import METHODS, load

    train = load(METHODS[run.method].train)
    with (
        run.locked(),
        Interrupts("stopping after this step; once more to stop at once") as interrupts,
        _live_view(run, subject, viewer, port, lambda: interrupts.requested) as show,
        _scalars(run.path, tensorboard) as write_scalars,
        TrainingDisplay(METHODS[run.method].counts) as display,
        contextlib.closing(train(run, subject, config)) as events,
    ):
        for event in events:
            display.update(event)
            write_scalars(event)
            show(event)
            if interrupts.requested:
                break
        else:
            display.finish()
    if interrupts.requested:
        saved = run.latest_checkpoint(names=())
        say(f"interrupted; saved at step {saved.step if saved else 0}\nresume with: scenerep resume {short(run.path)}")
        return EXIT_INTERRUPTED
    return EXIT_DONE


def report(run: Run, *, json: bool) -> None:
    """The end of a training: a small table and what to do next, or one JSON object."""
    summary = summarize(run)
    if json:
        print_json(summary)
        return
    if summary["f_score"] is not None:
        rows = [
            ("F-score at 1 %", f"{summary['f_score']:.4f}"),
            ("mean distance", f"{100 * summary['distance']:.3f} % of half the longest side"),
        ]
    else:
        rows = [
            ("PSNR", _or_unknown(summary["psnr"], "{:.2f} dB")),
            ("SSIM", _or_unknown(summary["ssim"], "{:.4f}")),
        ]
    rows += [
        (summary["unit"], f"{summary['count']}"),
        ("training", _or_unknown(summary["minutes"], "{:.2f} minutes") + f", {summary['step']} steps"),
        ("size", format_bytes(summary["bytes"]) + " as float32"),
        ("run", short(run.path)),
    ]
    print_table(rows)
    place = short(run.path)
    following = [f"eval {place}", f"view {place}"]
    if summary["unit"] == "Gaussians":
        following.append(f"export {place} scene.ply")
    elif summary["unit"] == "weights":
        shown = {"picture": f"export {place} picture.png", "surface": f"export {place} mesh.glb"}
        following = [f"eval {place}", shown.get(summary["subject"], f"view {place}")]
        following.append(f"compress rdo {place} --out field.srz")
    else:
        following += [f"render {place}", f"export {place} mesh.glb"]
    print("\nnext:  " + "\n       ".join(f"scenerep {command}" for command in following))


def summarize(run: Run) -> dict[str, Any]:
    """What is known about a run: `psnr`, `ssim` (of the last evaluation), `count`, `minutes`, `step`, `bytes`, ...

    `f_score` and `distance` for surfaces, `subject` for networks, None for all else.
    """
    scene = run.scene()
    measured = [entry for entry in run.metrics() if {"psnr", "f_score"} & entry.keys()]
    last = measured[-1] if measured else {}
    seconds = scene.metadata.get("seconds")
    return {
        "run": str(run.path),
        "method": run.method,
        "unit": scene.noun,
        "psnr": last.get("psnr"),
        "ssim": last.get("ssim"),
        "f_score": last.get("f_score"),
        "distance": last.get("distance"),
        "subject": getattr(scene, "subject", None),
        "count": len(scene),
        "sh_degree": scene.sh_degree,
        "step": scene.metadata["step"],
        "minutes": None if seconds is None else seconds / 60,
        "bytes": sum(array.nbytes for array in scene.arrays().values()),
    }


def _or_unknown(value: float | None, text: str) -> str:
    return "not measured" if value is None else text.format(value)


@contextlib.contextmanager
def _live_view(
    run: Run, capture: Capture, wanted: bool, port: int, cancelled: Callable[[], bool]
) -> Iterator[Callable[[Event], None]]:
    """Gives a function that shows an event, and every few seconds the scene as it is; it blocks while paused."""
    if not wanted:
        yield lambda event: None
        return
    from scenerep.viewer.live import LiveView

    view = LiveView(port, capture=capture, min_seconds=_SNAPSHOT_SECONDS)
    say(f"watch the training at {view.url}, with viser's dashboard at {view.dashboard_url} (this machine only)")

    def show(event: Event) -> None:
        scene = None
        if view.wants_scene:  # a copy of the whole scene: only for somebody
            if run.snapshot is not None:
                scene = run.snapshot() if isinstance(event, Step) else None
            elif isinstance(event, Saved):
                scene = run.scene()
        view.update(None if scene is None else _splats(scene), event)
        view.hold(cancelled)

    try:
        yield show
        if not cancelled():
            view.finish(_splats(run.scene()))
    finally:
        view.stop()


def _splats(scene: Scene) -> Gaussians:
    """What the live view draws: voxels as round Gaussians of their size."""
    from scenerep.scenes import Gaussians, NeuralField

    if isinstance(scene, Gaussians):
        return scene
    assert not isinstance(scene, NeuralField)  # refuse_viewer
    from scenerep.voxel_training.preview import voxels_as_splats

    return voxels_as_splats(scene)


@contextlib.contextmanager
def _scalars(folder: Path, wanted: bool) -> Iterator[Callable[[Event], None]]:
    """Gives a function that writes an event's numbers for TensorBoard."""
    if not wanted:
        yield lambda event: None
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise DeviceError(
            "--tensorboard needs the package tensorboard", "install it: pip install 'scenerep[tensorboard]'"
        )
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def write(event: Event) -> None:
        if isinstance(event, Step) and event.step % 10 == 0:
            writer.add_scalar("train/loss", event.loss, event.step)
            writer.add_scalar("train/count", event.count, event.step)
        elif isinstance(event, Evaluated):
            writer.add_scalar("test/psnr", event.psnr, event.step)
            writer.add_scalar("test/ssim", event.ssim, event.step)
        elif isinstance(event, Scored):
            writer.add_scalar("test/f_score", event.f_score, event.step)
            writer.add_scalar("test/distance", event.distance, event.step)
        elif isinstance(event, Densified):
            writer.add_scalar("train/count", event.after, event.step)

    try:
        yield write
    finally:
        writer.close()
