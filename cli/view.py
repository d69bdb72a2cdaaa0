"""`scenerep view`: scenes in the browser."""

from __future__ import annotations

import contextlib
import tempfile
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from scenerep.cli.common import say
from scenerep.cli.sources import Source, open_source, require_content, require_views
from scenerep.errors import ConfigError

if TYPE_CHECKING:
    from scenerep.viewer import PageServer, SceneServer

# A browser on an ordinary laptop still turns this many smoothly.
_MANY = 1_500_000
_LOOPBACK = "127.0.0.1"


def view_command(
    sources: Annotated[tuple[Path, ...], tyro.conf.Positional],
    port: int = 8080,
    no_open: bool = False,
    data: Path | None = None,
    most: int | None = None,
    host: str = _LOOPBACK,
    viser: bool = False,
) -> None:
    """Look at scenes in the browser; two are compared, side by side in one picture. Ctrl-C ends it.

    Only this machine can connect. Files that the page reads are sent as they are, anything else as a PLY.

    Args:
        sources: Run folders or scene files.
        port: Port on this machine; 0 takes a free one.
        no_open: Do not open a browser window.
        data: The capture, whose cameras and pictures are shown; default: the one the first run was trained on.
        most: Draw at most so many Gaussians, the largest and most opaque ones. Default: all.
        host: Listen on this address of the machine, so that others can connect: they need the address that is printed,
            which holds a token. The connection is not encrypted.
        viser: Use viser's page: it draws colours that change with the view as their mean.
    """
    if not sources:
        raise ConfigError("there is nothing to show", "name a run's folder or a scene file")
    if viser and (len(sources) != 1 or host != _LOOPBACK):
        raise ConfigError("viser's page shows one scene, on this machine only", "leave out --viser")
    if most is not None and most < 1:
        raise ConfigError(f"--most is {most}", "give a number above 0")
    opened = [open_source(source) for source in sources]
    for source in opened:
        require_content(source)
    with tempfile.TemporaryDirectory(prefix="scenerep-view-") as folder:
        if viser:
            server = _viser_page(opened[0], port, data, most)
        else:
            server = _page(opened, port, host, data, most, Path(folder))
        try:
            with contextlib.suppress(KeyboardInterrupt):  # the ordinary way to end it, no failure
                count = sum(len(source.scene) for source in opened)
                what = f"{count:,} {opened[0].scene.noun}" + (f" in {len(opened)} scenes" if len(opened) > 1 else "")
                who = "this machine only" if host == _LOOPBACK else "whoever has this address"
                say(f"showing {what} at {server.url} ({who}); Ctrl-C ends it")
                if most is None and count > _MANY and opened[0].scene.noun == "Gaussians":
                    say(f"if the browser is slow, try --most {_MANY}")
                if not no_open:
                    webbrowser.open(server.url)
                while True:
                    time.sleep(1)
        finally:
            server.stop()


def _page(opened: list[Source], port: int, host: str, data: Path | None, most: int | None, folder: Path) -> PageServer:
    from scenerep.viewer import PageServer, Surroundings, offer_scene

    first = opened[0]
    capture = first.capture_if_any(data)
    cameras = () if capture is not None else first.viewer_cameras()
    title = "scenerep: " + ", ".join(source.path.resolve().name for source in opened)
    background = first.visible_background("auto", capture)
    offers = []
    for source in opened:
        offer = offer_scene(source.path, require_views(source), folder)
        if offer.file.parent == folder.resolve():
            say(f"note: {source.path} is sent to the page as a {offer.format.upper()}")
        offers.append(offer)
    surroundings = Surroundings(
        title, background, capture, cameras, most, first.viewer_up() if capture is None else None
    )
    return PageServer(offers, surroundings, port=port, host=host)


def _viser_page(source: Source, port: int, data: Path | None, most: int | None) -> SceneServer:
    from scenerep.viewer import SceneServer

    capture = source.capture_if_any(data)
    cameras = () if capture is not None else source.viewer_cameras()
    colour = source.visible_background("auto", capture)
    title = f"scenerep: {source.path.resolve().name}"
    server = SceneServer(port, capture=capture, cameras=cameras, background=colour, title=title)
    server.show(source.gaussians, most=most)
    return server
