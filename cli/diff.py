"""`scenerep diff A B`: how far two scenes are apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro

from scenerep.cli.common import format_bytes, print_json, print_table
from scenerep.cli.sources import open_source
from scenerep.errors import ConfigError


def diff(
    a: Annotated[Path, tyro.conf.Positional],
    b: Annotated[Path, tyro.conf.Positional],
    data: Path | None = None,
    views: int = 6,
    max_side: int = 480,
    json: bool = False,
) -> None:
    """Compare two scenes: errors of their attributes, and PSNR of B's renders against A's.

    Args:
        a: The reference: a run's folder or a scene file.
        b: The other.
        data: A capture whose cameras to render from. Default: the capture of A's run, or a ring around A.
        views: Cameras to render from, spread over those that are there; 0 compares attributes alone.
        max_side: Longer side of the renders in pixels.
        json: Print one JSON object.
    """
    import numpy as np

    from scenerep.evaluation.compare import attribute_errors, render_difference

    if views < 0 or max_side < 16:
        raise ConfigError("a comparison needs 0 or more views of at least 16 pixels")
    first, second = open_source(a), open_source(b)
    found: dict[str, Any] = {
        side: {"file": str(source.path), "count": len(source.gaussians), "sh_degree": source.gaussians.sh_degree}
        | {"antialiased": source.gaussians.antialiased, "bytes": _bytes(source.path)}
        for side, source in (("a", first), ("b", second))
    }
    found["attributes"] = attribute_errors(first.gaussians, second.gaussians)
    cameras = first.cameras(first.capture_if_any(data)) if views else []
    chosen = [cameras[i] for i in np.unique(np.linspace(0, len(cameras) - 1, views).astype(int))] if cameras else []
    found["render"] = render_difference(
        first.gaussians, second.gaussians, [_reduced(camera, max_side) for camera in chosen]
    )
    if json:
        print_json(found)
    else:
        print_table(_rows(found))


def _reduced(camera: Any, max_side: int) -> Any:
    factor = min(1.0, max_side / max(camera.width, camera.height))
    return camera.resized(max(1, round(camera.width * factor)), max(1, round(camera.height * factor)))


def _bytes(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for side in "ab":
        entry = found[side]
        size = "" if entry["bytes"] is None else f", {format_bytes(entry['bytes'])}"
        rows.append((side, f"{entry['file']}: {entry['count']:,} Gaussians of SH degree {entry['sh_degree']}{size}"))
    attributes = found["attributes"]
    rows.append(("pairs", f"{attributes['pairs']:,}, by {attributes['paired_by']}"))
    for name in ("position", "log_scale", "opacity", "colour", "sh", "shape"):
        errors = attributes[name]
        if errors["rms"] is not None:
            text = f"rms {errors['rms']:.3g}, 99 % below {errors['p99']:.3g}, largest {errors['max']:.3g}"
            rows.append((name.replace("_", " "), text))
    render = found["render"]
    if render["views"]:
        rows.append(
            ("render PSNR", f"{render['psnr']:.2f} dB over {render['views']} views, least {render['psnr_least']:.2f}")
        )
        if render["psnr_in_mask"] is not None:
            rows.append(("in the object", f"{render['psnr_in_mask']:.2f} dB"))
        rows.append(("render SSIM", f"{render['ssim']:.4f}"))
    return rows
