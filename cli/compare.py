"""`scenerep compare A B ...`: size against quality of several files of one scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from scenerep.cli.common import print_json, say, stage_progress
from scenerep.cli.sources import Background, Source, open_source, require_content
from scenerep.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from scenerep.compress.views import Views

_RENDERS = 640, 480


def compare_command(
    sources: Annotated[tuple[Path, ...], tyro.conf.Positional],
    capture: Path | None = None,
    plot: Path | None = None,
    background: Background = "auto",
    max_side: int | None = None,
    json: bool = False,
) -> None:
    """Compare files of one scene: bytes, Gaussians, PSNR and SSIM.

    With a capture (or where the first source is a run), on its held-out photographs. Without one, against renders of
    the first source, over the whole picture and inside what it covers.

    Args:
        sources: Runs, scene files or SOG folders, the reference first.
        capture: Folder of the photographs. Default: those of the first source, if it is a run.
        plot: Also draw quality over size into this PNG.
        background: Colour behind the scene and behind transparent pictures.
        max_side: Reduce the photographs to this longer side, in pixels. Default: as in training.
        json: Print one JSON object.
    """
    if len(sources) < 1:
        raise ConfigError("there is nothing to compare", "name at least one run or scene file")
    from scenerep.compress.views import Views, cameras_around

    opened = [open_source(path) for path in sources]
    for source in opened:
        require_content(source)
    first = opened[0]
    photographs = first.capture(capture, max_side) if capture is not None or first.run is not None else None
    colour = first.visible_background(background, photographs)
    if photographs is not None:
        views = Views.of_capture(photographs, photographs.test or photographs.train, colour)
        insides = None
    else:
        cameras = cameras_around(first.gaussians, *_RENDERS)[::2]
        views = Views.of_renders(first.gaussians, cameras, colour)
        insides = _insides(first, views)
    rows = []
    with stage_progress() as progress:
        for done, source in enumerate(opened):
            rows.append(_measure(source, views, insides))
            progress("comparing", done + 1, len(opened))
    if plot is not None:
        _draw(plot, rows)
    result = {
        "measured_on": str(photographs.root) if photographs is not None else f"renders of {first.path}",
        "views": len(views),
        "files": rows,
    }
    if json:
        print_json(result)
        return
    names = ("file", "bytes", "B/Gaussian", "Gaussians", "PSNR", "SSIM", *(("PSNR inside",) if insides else ()))
    table = [names, *(_cells(row, insides is not None) for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(names))]
    for line in table:
        print("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))))
    say(f"measured on {len(views)} pictures: {result['measured_on']}")


def size_of(source: Source) -> int:
    """Bytes of a file, of all files of a folder, or of what a run's scene would be exported to."""
    if source.run is not None:
        from scenerep.io import ply
        from scenerep.scenes import Gaussians

        if not isinstance(source.scene, Gaussians):
            return sum(array.nbytes for array in source.scene.arrays().values())
        return len(ply.write(source.scene))
    if source.path.is_dir():
        return sum(file.stat().st_size for file in source.path.rglob("*") if file.is_file())
    return source.path.stat().st_size


def _insides(first: Source, views: Views) -> list[np.ndarray]:
    from scenerep.render import render

    return [render(first.scene, views.target(i).camera).alpha > 0.5 for i in range(len(views))]


def _measure(source: Source, views: Views, insides: list[np.ndarray] | None) -> dict[str, Any]:
    import numpy as np

    from scenerep.metrics import psnr, ssim
    from scenerep.render import render

    r, g, b = views.background.tolist()
    whole, similar, inside = [], [], []
    for i in range(len(views)):
        target = views.target(i)
        picture = render(source.scene, target.camera, background=(r, g, b)).rgb.clip(0, 1)
        whole.append(psnr(picture, target.rgb, mask=target.mask))
        similar.append(ssim(picture, target.rgb, mask=target.mask))
        if insides is not None and insides[i].any():
            inside.append(psnr(picture, target.rgb, mask=insides[i]))
    size = size_of(source)
    return {
        "file": str(source.path),
        "bytes": size,
        "count": len(source.scene),
        "sh_degree": source.scene.sh_degree,
        "bytes_per_gaussian": size / len(source.scene),
        "psnr": float(np.mean(whole)),
        "ssim": float(np.mean(similar)),
        "psnr_inside": float(np.mean(inside)) if inside else None,
    }


def _cells(row: dict[str, Any], inside: bool) -> tuple[str, ...]:
    cells = (
        row["file"],
        f"{row['bytes']:,}",
        f"{row['bytes_per_gaussian']:.2f}",
        f"{row['count']:,}",
        f"{row['psnr']:.2f} dB",
        f"{row['ssim']:.4f}",
    )
    return (*cells, f"{row['psnr_inside']:.2f} dB" if row["psnr_inside"] is not None else "-") if inside else cells


def _draw(path: Path, rows: list[dict[str, Any]]) -> None:
    import imageio.v3 as iio

    from scenerep.evaluation.plot import rate_distortion_plot
    from scenerep.io.files import replacing

    curves: dict[str, Sequence[tuple[float, float]]] = {row["file"]: [(row["bytes"], row["psnr"])] for row in rows}
    with replacing(path) as temporary:
        iio.imwrite(temporary, rate_distortion_plot(curves, "PSNR over bytes"))
    say(f"look at {path}")
