"""`scenerep publish`: a scene as a web page for any static host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from scenerep.cli.common import format_bytes, print_json, print_table, say
from scenerep.cli.sources import open_source, require_content, require_views
from scenerep.errors import ConfigError


def publish_command(
    source: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    title: str | None = None,
    url: str | None = None,
    data: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Write a folder with a scene and the page that draws it, to be put onto any web server as it is.

    A scene file that the page reads is copied as it is. A run is written as an .srz in layers, with steps that a
    picture does not show; `scenerep compress` makes files that are many times smaller. Photographs stay at home.

    Args:
        source: A run's folder or a scene file.
        out: The folder to write.
        title: Shown on the page and where its link is shared. Default: the name of the source.
        url: Where the folder will be, with https://. Networks that show a picture of a shared link mostly ask for it.
        data: The capture, whose cameras tell where to start. Default: the run's own.
        overwrite: Replace what was published in this folder before.
        json: Print one JSON object.
    """
    from scenerep.geometry.layout import camera_layout, surrounding_cameras
    from scenerep.io.files import refuse_existing
    from scenerep.viewer.publish import Publication, publish
    from scenerep.viewer.server import typical_view

    refuse_existing(out, overwrite)
    if url is not None and not url.startswith(("https://", "http://")):
        raise ConfigError(f"--url {url} is no address of a page", "give it with https://")
    opened = open_source(source)
    require_content(opened)
    capture = opened.capture_if_any(data)
    cameras = opened.cameras(capture) if capture is not None else opened.viewer_cameras()
    around = cameras or surrounding_cameras(opened.points())
    layout = camera_layout(around)
    up = opened.viewer_up()
    background = opened.visible_background("auto", capture)
    result = publish(
        Publication(
            scene=require_views(opened),
            path=source,
            camera=typical_view(around, layout),
            up=layout.up if up is None else up,
            background=background,
            title=title if title is not None else source.resolve().name,
            url=url,
            metadata=opened.viewer_metadata(capture, background),
            cameras=tuple(cameras),
        ),
        out,
        overwrite=overwrite,
    )
    if json:
        print_json(result)
        return
    print_table(
        [
            ("folder", str(out)),
            ("scene", f"{result['file']}, {format_bytes(result['bytes'])}, {result['count']:,} {opened.scene.noun}"),
            ("size", format_bytes(result["total_bytes"])),
        ]
    )
    how = "copied as it is" if result["copied"] else "written as .srz with steps that a picture does not show"
    say(f"the scene was {how}\ntry it with: python3 -m http.server --directory {out}")
