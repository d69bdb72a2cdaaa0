"""The `scenerep` command. One file per command; whatever is heavy is imported when a command runs, not before."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import tyro
from tyro.extras import SubcommandApp

from scenerep.cli import compress, data, image, train
from scenerep.cli.common import run_command
from scenerep.cli.compare import compare_command
from scenerep.cli.decompress import decompress_command
from scenerep.cli.diff import diff
from scenerep.cli.distill import distill
from scenerep.cli.eval import eval_command
from scenerep.cli.export import export_command
from scenerep.cli.info import info
from scenerep.cli.publish import publish_command
from scenerep.cli.render import render_command
from scenerep.cli.resume import resume
from scenerep.cli.view import view_command
from scenerep.cpus import usable_cpus

_DESCRIPTION = """Photographs in, compact 3D scenes out, on a plain CPU.

First steps: `scenerep data photos PICTURES CAPTURE`, `scenerep train splats --data CAPTURE`,
`scenerep view runs/CAPTURE/splats/latest`."""


def build_app() -> SubcommandApp:
    """All commands, in the order in which they are used."""
    app = SubcommandApp()
    app.command(data.app, name="data", help="Make a capture of photographs, of a video or out of thin air; check one.")
    app.command(train.build_app(), name="train", help="Train a scene on a capture.")
    app.command(name="resume")(resume)
    app.command(name="distill")(distill)
    app.command(name="eval")(eval_command)
    app.command(name="render")(render_command)
    app.command(name="export")(export_command)
    app.command(compress.build_app(), name="compress", help="Make a scene small: one file, many times smaller.")
    app.command(name="compare")(compare_command)
    app.command(name="decompress")(decompress_command)
    app.command(name="info")(info)
    app.command(name="diff")(diff)
    app.command(image.app, name="image", help="Pictures as small files, and back; codecs compared.")
    app.command(name="view")(view_command)
    app.command(name="publish")(publish_command)
    return app


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; see common.run_command.

    Args:
        args: Without the program's name; the process's own by default.
    """
    # torch counts the machine's cores, not what a container may use, and it must be told before it is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cpus()))
    app, options = build_app(), (tyro.conf.FlagCreatePairsOff,)
    return run_command(lambda: app.cli(prog="scenerep", description=_DESCRIPTION, args=args, config=options))


if __name__ == "__main__":
    sys.exit(main())
