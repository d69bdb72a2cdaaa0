"""`scenerep view`: a scene in the browser."""

from __future__ import annotations

import contextlib
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import tyro

from scenerep.cli.common import say
from scenerep.cli.sources import open_source, require_gaussians

# A browser on an ordinary laptop still turns this many smoothly.
_MANY = 1_500_000


def view_command(
    source: Annotated[Path, tyro.conf.Positional],
    port: int = 8080,
    no_open: bool = False,
    data: Path | None = None,
    most: int | None = None,
) -> None:
    """Look at a scene in the browser. Only this machine can connect; Ctrl-C ends it.

    Colours that change with the view are shown as their mean: `scenerep render` draws them exactly.

    Args:
        source: A run's folder or a PLY file.
        port: Port on this machine; 0 takes a free one.
        no_open: Do not open a browser window.
        data: The capture, whose cameras and pictures are shown; default: the one the run was trained on.
        most: Send at most so many Gaussians, the largest and most opaque ones. Default: all.
    """
    from scenerep.viewer.server import SceneServer

    opened = open_source(source)
    require_gaussians(opened)
    capture = opened.capture_if_any(data)
    cameras = () if capture is not None or opened.run is None else opened.cameras(None)
    colour = opened.visible_background("auto", capture)
    server = SceneServer(port, capture=capture, cameras=cameras, background=colour, title=f"scenerep: {source.name}")
    try:
        server.show(opened.scene, most=most)
        say(f"showing {len(opened.scene):,} Gaussians at {server.url} (this machine only); Ctrl-C ends it")
        if most is None and len(opened.scene) > _MANY:
            say(f"if the browser is slow, try --most {_MANY}")
        if not no_open:
            webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):  # the ordinary way to end it, no failure
            while True:
                time.sleep(1)
    finally:
        server.stop()
