"""`scenerep compress METHOD IN --out x.srz`: a scene in, a small file out."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.extras import SubcommandApp

from scenerep.cli.common import EXIT_DONE, EXIT_INTERRUPTED, Interrupts, format_bytes, print_json, print_table, say
from scenerep.cli.display import TrainingDisplay
from scenerep.cli.fields import compress_field_network
from scenerep.cli.sources import Background, Source, open_source, require_content
from scenerep.errors import ConfigError, DataError
from scenerep.registry import COMPRESSORS, Compressor, load

if TYPE_CHECKING:
    from scenerep.compress import Job

_UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_KINDS = {(True, True): "held-out photographs", (False, True): "photographs", (False, False): "renders"}
_RENDERS = 640, 480  # size of the pictures that a scene without photographs is judged by


@dataclasses.dataclass(frozen=True)
class CompressOptions:
    """What every method is told. Without a goal, --quality medium."""

    source: tyro.conf.Positional[Path]
    """A run's folder (its photographs are used to fine-tune) or a scene file."""
    out: Path
    """The file to write, ending in .srz."""
    target_size: str | None = None
    """Size of the file, for instance 500kB or 2MB: within 2 %, never above."""
    target_loss: str | None = None
    """PSNR that may be lost, for instance 0.2dB; on the held-out photographs where there are any."""
    lambda_: Annotated[float | None, tyro.conf.arg(name="lambda")] = None
    """Rise of the mean squared error (of values 0 to 255) that a saving of a million bits is worth."""
    quality: Literal["low", "medium", "high", "near-lossless"] | None = None
    """A preset of lambda."""
    minutes: float = 3.0
    """Time to fine-tune for, where there are photographs."""
    steps: int | None = None
    """Fine-tune for this many steps instead; the same steps and seed give the same bytes."""
    data: Path | None = None
    """The capture. Default: that of the run; a scene file has none and is compressed without fine-tuning."""
    background: Background = "auto"
    """Colour behind the scene and behind transparent pictures."""
    max_side: int | None = None
    """Reduce the photographs to this longer side, in pixels. Default: as in training."""
    licence: str | None = None
    """Licence of the scene, for instance CC-BY-4.0; told in the file."""
    seed: int = 0
    """Seed of all random numbers."""
    overwrite: bool = False
    """Replace the file if it exists."""
    json: bool = False
    """Print one JSON object."""


def compress(method: str, options: CompressOptions, config: Any) -> int:
    """Compresses a scene with `method`; see CompressOptions."""
    from scenerep.io.files import refuse_existing, write_bytes

    refuse_existing(options.out, options.overwrite)
    opened = open_source(options.source)
    require_content(opened)
    started = time.monotonic()
    if opened.network is not None:
        return compress_field_network(method, options, opened, goal_of(options), started)
    if opened.scene.noun == "voxels":
        from scenerep.cli.compress_field import compress_field

        return compress_field(method, options, opened, goal_of(options), started)
    job = _job(options, opened)
    job.open_folder(_identity(method, options, config))
    if job.saved() is not None:
        say("going on from where the last attempt was interrupted")
    run = load(COMPRESSORS[method].compress)
    data, report = b"", {}
    with (
        Interrupts("stopping after this step; once more to stop at once") as interrupts,
        TrainingDisplay() as display,
        contextlib.closing(run(job, config)) as events,
    ):
        for event in events:
            display.update(event)
            data, report = getattr(event, "data", data), getattr(event, "report", report)
            if interrupts.requested:
                break
        else:
            display.finish()
    if interrupts.requested and not data:
        kept = job.saved() is not None
        say("interrupted; " + ("the same command goes on from here" if kept else "the same command starts anew"))
        return EXIT_INTERRUPTED
    write_bytes(options.out, data, overwrite=options.overwrite)
    job.clear()
    _report(options, job, data, report, time.monotonic() - started)
    return EXIT_DONE


def _job(options: CompressOptions, opened: Source) -> Job:
    from scenerep.compress import Job
    from scenerep.compress.views import Views, cameras_around

    capture = opened.capture(options.data, options.max_side) if options.data or opened.run else None
    background = opened.visible_background(options.background, capture)
    scene = dataclasses.replace(opened.gaussians, metadata={})
    held_out = None
    if capture is not None:
        views = Views.of_capture(capture, capture.train, background)
        if capture.test:
            held_out = Views.of_capture(capture, capture.test, background)
    else:
        cameras = cameras_around(scene, *_RENDERS)
        views = Views.of_renders(scene, cameras, background)
    licence = {} if options.licence is None else {"licence": options.licence}
    return Job(
        scene,
        views,
        goal_of(options),
        held_out,
        seconds=60 * options.minutes,
        steps=options.steps,
        seed=options.seed,
        metadata=licence | opened.viewer_metadata(capture, background),
        folder=options.out.with_name(f".{options.out.name}.work"),
    )


def goal_of(options: CompressOptions) -> Any:
    from scenerep.compress import Goal

    if not options.minutes > 0 or (options.steps is not None and options.steps < 1):
        raise ConfigError("the time to fine-tune for is not positive", "give --minutes or --steps above 0")
    quality = options.quality
    if options.lambda_ is None and options.target_size is None and options.target_loss is None and quality is None:
        quality = "medium"
    return Goal(
        options.lambda_,
        None if options.target_size is None else parse_size(options.target_size),
        None if options.target_loss is None else parse_decibel(options.target_loss),
        quality,
    )


def parse_size(text: str) -> int:
    """`2MB` -> 2000000, `500 KiB` -> 512000, `1234` -> 1234."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", text)
    try:
        assert match is not None
        return int(float(match[1]) * _UNITS[match[2].lower()])
    except (AssertionError, KeyError, ValueError) as error:
        raise ConfigError(f"{text!r} is not a size", "write it as 500kB, 2MB or 1.5MiB") from error


def parse_decibel(text: str) -> float:
    """`0.2dB` or `0.2` -> 0.2."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*(?:dB)?\s*", text, re.IGNORECASE)
    try:
        assert match is not None
        return float(match[1])
    except (AssertionError, ValueError) as error:
        raise ConfigError(f"{text!r} is not a loss in decibel", "write it as 0.2dB") from error


def _identity(method: str, options: CompressOptions, config: Any) -> dict[str, Any]:
    """What has to be the same for an interrupted job to be gone on with."""
    from scenerep.configs import config_to_json

    source = options.source.resolve()
    files = sorted(source.glob("checkpoints/*")) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{source} holds no checkpoint", "train it on")
    plain = {key: value for key, value in config_to_json(options).items() if key not in ("overwrite", "json")}
    stamp = files[-1].stat()
    return {
        "method": method,
        "options": plain,
        "config": config_to_json(config),
        "source": [stamp.st_mtime_ns, stamp.st_size],
    }


def _report(options: CompressOptions, job: Job, data: bytes, report: dict[str, Any], seconds: float) -> None:
    """Measured on what the file decodes to."""
    from scenerep.coding import decode_file, summarise

    scene = decode_file(data).scene
    views = job.held_out or job.views
    before, after = views.psnr(job.scene), views.psnr(scene)
    result: dict[str, Any] = {
        "file": str(options.out),
        "bytes": len(data),
        "count": len(scene),
        "count_before": len(job.scene),
        "ratio_to_ply": 4 * (17 + job.scene.sh.shape[1] * 3 - 3) * len(job.scene) / len(data),
        "psnr": after,
        "psnr_before": before if views.are_photographs else None,
        "measured_on": "held-out photographs"
        if job.held_out
        else ("photographs" if views.are_photographs else "renders"),
        "seconds": round(seconds, 1),
        "streams": summarise(data).streams,
        **{key: value for key, value in report.items() if key not in ("seconds", "count")},
    }
    if options.json:
        print_json(result)
        return
    rows = [
        ("file", str(options.out)),
        ("size", f"{format_bytes(len(data))}, {result['ratio_to_ply']:.1f} times smaller than the PLY"),
        ("Gaussians", f"{len(scene):,} of {len(job.scene):,}, {len(data) / max(len(scene), 1):.2f} bytes each"),
        ("PSNR", f"{after:.2f} dB on {result['measured_on']}"),
    ]
    if result["psnr_before"] is not None:
        rows.append(("loss", f"{before - after:.2f} dB"))
    print_table([*rows, ("time", f"{seconds:.0f} s")])


def _command(name: str, method: Compressor) -> Callable[..., int]:
    """The command of one method: the common options and the fields of its configuration, side by side."""

    def command(options: Any, config: Any) -> int:
        return compress(name, options, config)

    # tyro reads the types from here; they are not known before the registry is.
    command.__annotations__ = {
        "options": Annotated[CompressOptions, tyro.conf.arg(name="")],
        "config": Annotated[load(method.config), tyro.conf.arg(name="")],
        "return": int,
    }
    command.__doc__ = method.help
    return command


def build_app() -> SubcommandApp:
    """One command for each compressor of the registry."""
    app = SubcommandApp()
    for name, method in COMPRESSORS.items():
        app.command(name=name, help=method.help)(_command(name, method))
    return app
