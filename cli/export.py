"""`scenerep export`: a scene as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro

from scenerep.cli.common import format_bytes, print_json, print_table, say
from scenerep.cli.sources import Source, open_source


def export_command(
    source: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Write a scene to a file that splat viewers and editors read; says what the file cannot hold.

    Args:
        source: A run's folder or a scene file.
        out: The file to write; its ending names the format: .ply, .srz.
        overwrite: Replace the file if it exists.
        json: Print one JSON object.
    """
    from scenerep.io import write_scene
    from scenerep.io.files import refuse_existing

    refuse_existing(out, overwrite)  # before the scene is read, which can take seconds
    opened = open_source(source)
    write_scene(opened.scene, out, overwrite=overwrite)
    lost = _lost(opened)
    result: dict[str, Any] = {
        "file": str(out),
        "bytes": out.stat().st_size,
        "count": len(opened.scene),
        "sh_degree": opened.scene.sh_degree,
        "lost": lost,
    }
    if json:
        print_json(result)
        return
    print_table([
        ("file", str(out)),
        ("size", format_bytes(result["bytes"])),
        ("Gaussians", f"{len(opened.scene):,}"),
        ("SH degree", str(opened.scene.sh_degree)),
    ])  # fmt: skip
    for line in lost:
        say(f"not in the file: {line}")


def _lost(source: Source) -> list[str]:
    lost = []
    if source.run is not None:
        lost.append("the optimiser's state, the configuration and the metrics (the run keeps them)")
        lost.append("the cameras and photographs (the capture keeps them)")
    if source.scene.antialiased:
        lost.append("that the scene was trained antialiased: it stands in a comment that other viewers do not read")
    if "ignored_properties" in source.scene.metadata:
        lost.append(f"properties that splats do not have: {', '.join(source.scene.metadata['ignored_properties'])}")
    return lost
