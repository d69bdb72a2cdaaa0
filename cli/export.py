"""`scenerep export`: a scene as a file for other programs: splats, a mesh, or points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from scenerep.cli.common import format_bytes, print_json, print_table, say
from scenerep.cli.edits import Edits, apply_edits
from scenerep.cli.fields import export_network, is_network
from scenerep.cli.sources import Source, open_source
from scenerep.formats import format_of_name
from scenerep.meshes.config import MeshConfig

Kind = Literal["auto", "ply", "compressed.ply", "spz", "sog", "splat", "glb", "srz", "mesh", "points"]


def export_command(
    source: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    format: Kind = "auto",
    spz_version: Literal[3, 4] = 4,
    data: Path | None = None,
    edits: Annotated[Edits, tyro.conf.OmitArgPrefixes] = Edits(),  # noqa: B008
    mesh: MeshConfig = MeshConfig(),  # noqa: B008
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Write a scene to a file that other programs read: splats, a mesh or points. Says what the file cannot hold.

    Args:
        source: A run's folder, a scene file of any format, a SOG folder, a point cloud or a COLMAP model.
        out: The file to write; its ending names the format: .ply, .compressed.ply, .spz, .sog (or meta.json for a
            folder), .splat, .glb, .srz. A mesh is written to .obj, and to mesh.glb, mesh.ply, NAME.mesh.glb,
            NAME.mesh.ply; points to points.ply and NAME.points.ply. A network's picture is written to .png, .jpg,
            .webp, .avif or .tif, its surface to any .glb, .ply or .obj.
        format: What to write, whatever the file's name.
        spz_version: 3 for gzip, which more tools read, or 4 for zstd.
        data: A capture whose cameras make the mesh, the decimation and the direction of up. Default: the run's own.
        edits: Changes to the scene.
        mesh: How a mesh is made.
        overwrite: Replace the file if it exists.
        json: Print one JSON object.
    """
    from scenerep.io.files import refuse_existing

    refuse_existing(out, overwrite)  # before the scene is read, which can take seconds
    kind = _kind(out) if format == "auto" else format
    opened = open_source(source)
    if is_network(opened):
        _report(export_network(opened, out, mesh, overwrite), "weights", json)
        return
    # Any kind of scene has a surface; edits and other files want splats.
    splats = None if kind == "mesh" and edits == Edits() else apply_edits(opened, edits, data)
    scene = opened.scene if splats is None else splats
    result: dict[str, Any] = {"file": str(out), "format": kind, "count": len(scene), "sh_degree": scene.sh_degree}
    lost = _lost_of_source(opened)
    if kind == "mesh":
        from scenerep.meshes.surface import extract_mesh
        from scenerep.meshes.write import write_mesh

        surface = extract_mesh(scene, opened.cameras(opened.capture_if_any(data)), mesh)
        write_mesh(surface, out, overwrite=overwrite)
        result |= {"vertices": len(surface.vertices), "triangles": len(surface.triangles)}
        lost.append("all that is not surface: transparency, colours that change with the view")
    elif kind == "points" and splats is not None:
        from scenerep.io.files import write_bytes
        from scenerep.meshes.surface import scene_points
        from scenerep.meshes.write import points_to_bytes

        xyz, rgb = scene_points(splats)
        write_bytes(out, points_to_bytes(xyz, rgb), overwrite=overwrite)
        result["points"] = len(xyz)
        lost.append("sizes, rotations, opacities and SH of the Gaussians; Gaussians of less than 10 % opacity")
    elif splats is not None:
        from scenerep.io.scene_files import lost as lost_in_format
        from scenerep.io.scene_files import write_scene
        from scenerep.io.spz import SpzOptions

        options = SpzOptions(version=spz_version) if kind == "spz" else None
        write_scene(splats, out, overwrite=overwrite, format=None if format == "auto" else kind, options=options)
        lost += lost_in_format(splats, kind or "")
    result |= {"bytes": out.stat().st_size, "lost": lost}
    _report(result, scene.noun, json)


def _report(result: dict[str, Any], noun: str, json: bool) -> None:
    if json:
        print_json(result)
        return
    shown = {
        "file": result["file"],
        "format": str(result["format"]),
        "size": format_bytes(result["bytes"]),
        noun: f"{result['count']:,}",
    }
    shown |= {"SH degree": str(result["sh_degree"])} if "sh_degree" in result else {}
    shown |= {
        name: f"{result[name]:,}" for name in ("vertices", "triangles", "points", "width", "height") if name in result
    }
    print_table(list(shown.items()))
    for line in result["lost"]:
        say(f"not in the file: {line}")


def _kind(out: Path) -> str | None:
    """What a file of this name shall hold; None for unknown endings, which the writer names."""
    stem, ending = out.stem.lower(), out.suffix.lower()
    if ending == ".obj" or (ending in (".glb", ".ply") and (stem == "mesh" or stem.endswith((".mesh", "_mesh")))):
        return "mesh"
    if ending == ".ply" and (stem == "points" or stem.endswith((".points", "_points"))):
        return "points"
    return format_of_name(out.name)


def _lost_of_source(source: Source) -> list[str]:
    lost = []
    if source.run is not None:
        lost.append("the optimiser's state, the configuration and the metrics (the run keeps them)")
        lost.append("the cameras and photographs (the capture keeps them)")
    if "ignored_properties" in source.scene.metadata:
        lost.append(f"properties that splats do not have: {', '.join(source.scene.metadata['ignored_properties'])}")
    return lost
