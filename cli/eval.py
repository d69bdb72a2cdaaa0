"""`scenerep eval`: quality on the held-out photographs."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from scenerep.cli.common import print_json, print_table, say, stage_progress
from scenerep.cli.fields import is_network, measure
from scenerep.cli.sources import Background, Source, open_source, require_content


def eval_command(
    source: Annotated[Path, tyro.conf.Positional],
    data: Path | None = None,
    out: Path | None = None,
    background: Background = "auto",
    max_side: int | None = None,
    backend: Literal["auto", "native", "reference", "gsplat"] = "auto",
    fit: bool = False,
    json: bool = False,
) -> None:
    """Measure a scene on the photographs that were held out of its training.

    Prints PSNR, SSIM and more, and writes eval.json and contact.png (photograph, render, error) to RUN/eval. A network
    is measured on the picture or mesh that it was trained on: PSNR and SSIM, or F-score and mean distance.

    Args:
        source: A run's folder or a PLY file.
        data: The capture, or a network's picture or mesh. Default: the one that the run was trained on.
        out: Folder for eval.json and contact.png. Default: RUN/eval; nothing is written for a PLY.
        background: Colour behind the scene and behind transparent pictures. auto: white for pictures with alpha,
            black otherwise.
        max_side: Reduce the photographs to this longer side, in pixels. Default: as in training.
        backend: Rasteriser.
        fit: Measure also with each held-out picture's own pose and colours fitted: the fair comparison for trainings
            with --pose or --exposure, which cannot know them. Takes some seconds per picture.
        json: Print one JSON object.
    """
    from scenerep.evaluation import contact_sheet, evaluate

    opened = open_source(source)
    require_content(opened)
    if is_network(opened):
        _eval_network(opened, data, out, max_side, json)
        return
    capture = opened.capture(data, max_side)
    with stage_progress() as progress:
        evaluation = evaluate(
            opened.scene,
            capture,
            progress=progress,
            background=opened.background(background),
            backend=backend,
            fit=fit,
        )
    seconds = opened.scene.metadata.get("seconds") if opened.run else None
    result: dict[str, Any] = {
        "source": str(source),
        "data": str(capture.root),
        "minutes": None if seconds is None else seconds / 60,
        "step": opened.scene.metadata.get("step") if opened.run else None,
        "held_out": len(evaluation.views),
        **evaluation.as_json(),
    }
    folder = out or (opened.run.path / "eval" if opened.run else None)
    if folder is not None:
        _write(folder, result, contact_sheet(opened.scene, capture, evaluation, backend=backend))
    if json:
        print_json(result)
        return
    print_table(_rows(result, opened.scene.noun))
    if folder is not None:
        say(f"look at {folder / 'contact.png'}")


def _eval_network(opened: Source, data: Path | None, out: Path | None, max_side: int | None, json: bool) -> None:
    result, picture = measure(opened, data, max_side)
    folder = out or (opened.run.path / "eval" if opened.run else None)
    if folder is not None:
        _write(folder, result, picture)
    if json:
        print_json(result)
        return
    forms = {"psnr": ("PSNR", "{:.2f} dB"), "ssim": ("SSIM", "{:.4f}"), "f_score": ("F-score at 1 %", "{:.4f}")}
    forms |= {
        "distance": ("mean distance", "{:.5f} of half the longest side"),
        "minutes": ("training", "{:.2f} minutes"),
    }
    rows = [(name, form.format(result[key])) for key, (name, form) in forms.items() if result.get(key) is not None]
    print_table([*rows, ("weights", f"{result['count']:,}")])
    if folder is not None:
        say(f"look at {folder / 'contact.png'}")


def _write(folder: Path, result: dict[str, Any], sheet: Any) -> None:
    """Both are results of this command: a newer measurement replaces them."""
    import imageio.v3 as iio

    from scenerep.io.files import replacing, write_bytes

    text = json_module.dumps(_finite(result), indent=2) + "\n"
    with replacing(folder / "contact.png") as temporary:
        iio.imwrite(temporary, sheet)
    write_bytes(folder / "eval.json", text.encode())


def _finite(value: Any) -> Any:
    """JSON has no infinity: the PSNR of a perfect picture becomes null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _rows(result: dict[str, Any], noun: str) -> list[tuple[str, str]]:
    rows = [("PSNR", f"{result['psnr']:.2f} dB"), ("SSIM", f"{result['ssim']:.4f}")]
    for key, name, form in (
        ("ms_ssim", "MS-SSIM", "{:.4f}"),
        ("lpips", "LPIPS", "{:.4f}"),
        ("psnr_masked", "PSNR inside the mask", "{:.2f} dB"),
        ("ssim_masked", "SSIM inside the mask", "{:.4f}"),
        ("psnr_fitted", "PSNR, pose and colours fitted", "{:.2f} dB"),
        ("minutes", "training", "{:.2f} minutes"),
    ):
        if result[key] is not None:
            rows.append((name, form.format(result[key])))
    return [*rows, ("held-out views", str(result["held_out"])), (noun, f"{result['count']:,}")]
