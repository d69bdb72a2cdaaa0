"""The `scenerep` command. One file per command; whatever is heavy is imported when a command runs, not before."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence

import tyro
from tyro.extras import SubcommandApp

from scenerep.cli import info, resume, train
from scenerep.cli.common import run_command
from scenerep.native import usable_cpus

_DESCRIPTION = """Photographs in, compact 3D scenes out, on a plain CPU.

First steps: `scenerep data photos PICTURES CAPTURE`, `scenerep train splats --data CAPTURE`,
`scenerep view runs/CAPTURE/splats/latest`."""


def build_app() -> SubcommandApp:
    """All commands, in the order in which they are used."""
    app = SubcommandApp()
    _mount(app, "data", "Make captures: from photos, from a video, synthetic; check one.")
    app.command(train.build_app(), name="train", help="Train a scene on a capture.")
    app.command(name="resume")(resume.resume)
    for name in ("eval", "render", "export"):
        _mount(app, name)
    app.command(name="info")(info.info)
    _mount(app, "view")
    return app


def _mount(app: SubcommandApp, name: str, help: str | None = None) -> None:
    if importlib.util.find_spec(f"scenerep.cli.{name}") is None:
        return
    module = importlib.import_module(f"scenerep.cli.{name}")
    target = getattr(module, "app", None) or getattr(module, name, None) or getattr(module, f"{name}_command")
    if isinstance(target, SubcommandApp):
        app.command(target, name=name, help=help)
    else:
        app.command(name=name)(target)


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; see common.run_command."""
    # torch counts the machine's cores, not what a container may use, and it must be told before it is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cpus()))
    return run_command(
        lambda: build_app().cli(
            prog="scenerep", description=_DESCRIPTION, args=args, config=(tyro.conf.FlagCreatePairsOff,)
        )
    )
