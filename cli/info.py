"""`scenerep info PATH`: what is in a run, a scene file or a capture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from scenerep.cli.common import format_bytes, print_json, print_table
from scenerep.cli.sources import Source, open_source
from scenerep.errors import DataError

if TYPE_CHECKING:
    import numpy as np


def info(path: Annotated[Path, tyro.conf.Positional], json: bool = False) -> None:
    """Say what is in a run, a scene file, a mesh or a capture.

    Args:
        path: A run's folder, a scene of any format (file or SOG folder), a point cloud, a mesh or a capture's folder.
        json: Print one JSON object.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if path.is_file() or _is_scene_folder(path):
        found = _scene_file(path)
    elif (path / "config.json").is_file():
        found = _run(path)
    else:
        found = _capture(path)
    if json:
        print_json(found)
    else:
        print_table([(name, _text(name, value)) for name, value in found.items() if value is not None])


def _run(path: Path) -> dict[str, Any]:
    import json

    from scenerep.cli.training import summarize
    from scenerep.runs import Run

    run = Run.open(path)
    found: dict[str, Any] = {"kind": "run", **summarize(run), "data": str(run.data), "config": run.config}
    evaluation = run.path / "eval" / "eval.json"
    if evaluation.is_file():
        measured = json.loads(evaluation.read_text("utf-8"))
        if measured.get("step") == found["step"]:  # the whole measurement counts more than the trainer's own
            found |= {key: measured[key] for key in ("psnr", "ssim") if key in measured}
    return found | _bounds(open_source(path).positions())


def _scene_file(path: Path) -> dict[str, Any]:
    from scenerep.cli.srz import describe
    from scenerep.coding.container import MAGIC
    from scenerep.io.point_clouds import is_point_cloud, read_points
    from scenerep.io.scene_files import read_scene
    from scenerep.meshes.read import is_mesh

    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                return describe(path)
    if path.is_file() and is_mesh(path):
        return _mesh(path)
    if path.is_file() and is_point_cloud(path):
        points = read_points(path)
        return {"kind": "points", "file": str(path), "count": len(points), "bytes": path.stat().st_size}
    scene = read_scene(path)
    size = path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())
    return {
        "kind": "scene",
        "file": str(path),
        **scene.metadata,
        "count": len(scene),
        "sh_degree": scene.sh_degree,
        "antialiased": getattr(scene, "antialiased", None),
        "bytes": size,
        "bytes_per_gaussian": size / len(scene) if len(scene) else None,
        **_bounds(Source(path, scene, None).positions()),
    }


def _mesh(path: Path) -> dict[str, Any]:
    from scenerep.meshes.read import read_mesh

    mesh = read_mesh(path)
    return {
        "kind": "mesh",
        "file": str(path),
        "vertices": len(mesh.vertices),
        "triangles": len(mesh.faces),
        "watertight": bool(mesh.is_watertight),
        "bytes": path.stat().st_size,
        "bounds": None if len(mesh.vertices) == 0 else mesh.bounds.tolist(),
    }


def _is_scene_folder(path: Path) -> bool:
    from scenerep.io.scene_files import is_scene_folder

    return is_scene_folder(path)


def _capture(path: Path) -> dict[str, Any]:
    from scenerep.data_tools import open_capture

    capture = open_capture(path)
    sizes = sorted({(view.camera.width, view.camera.height) for view in capture.views})
    return {
        "kind": "capture",
        "folder": str(path),
        "format": capture.source,
        "views": len(capture.views),
        "train": len(capture.train),
        "test": len(capture.test),
        "sizes": [list(size) for size in sizes],
        "masks": sum(view.mask is not None for view in capture.views),
        "depths": sum(view.depth is not None for view in capture.views),
        "points": 0 if capture.points is None else len(capture.points),
        "warnings": list(capture.warnings) or None,
    }


def _bounds(points: np.ndarray) -> dict[str, Any]:
    """Box of the centres: all of them, and the middle 98 % along each axis (a few stray far out in most scenes)."""
    import numpy as np

    if len(points) == 0:
        return {"bounds": None, "bounds_98": None}
    low, high = np.percentile(points, [1, 99], axis=0)
    return {
        "bounds": [points.min(axis=0).tolist(), points.max(axis=0).tolist()],
        "bounds_98": [low.tolist(), high.tolist()],
    }


def _text(name: str, value: Any) -> str:
    if name == "bytes":
        return format_bytes(value)
    if name.startswith("bounds"):
        return " to ".join("(" + ", ".join(f"{x:.4g}" for x in corner) + ")" for corner in value)
    if name == "streams":
        return ", ".join(f"{stream} {format_bytes(size)}" for stream, size in value.items())
    if name == "bits_per_gaussian":
        return f"{sum(value.values()):.2f} = " + " + ".join(f"{bits:.2f} {stream}" for stream, bits in value.items())
    if name == "layers":
        return "; ".join(f"{layer['count']:,} ({format_bytes(layer['bytes'])})" for layer in value)
    if name == "sizes":
        return ", ".join(f"{width} x {height}" for width, height in value[:5]) + (" ..." if len(value) > 5 else "")
    if name == "config":
        return ", ".join(f"{key}={entry}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)
