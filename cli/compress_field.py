"""`scenerep compress rdo` for voxel fields."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scenerep.cli.common import EXIT_DONE, EXIT_INTERRUPTED, Interrupts, format_bytes, print_json, print_table, say
from scenerep.cli.sources import Source
from scenerep.errors import ConfigError

if TYPE_CHECKING:
    from scenerep.cli.compress import CompressOptions
    from scenerep.compress.base import Goal
    from scenerep.compress.voxels.compressor import VoxelJob
    from scenerep.events import Event


def run_trials(events: Iterable[Event], noun: str) -> tuple[bytes, dict[str, Any]]:
    """(file, report) of a compressor that tries lambdas, the sizes on stderr; no bytes if it was interrupted."""
    from scenerep.events import Compressed, Encoded

    with Interrupts("stopping after this trial; once more to stop at once") as interrupts:
        for event in events:
            if isinstance(event, Compressed):
                return event.data, event.report
            if isinstance(event, Encoded):
                say(f"{format_bytes(event.bytes)}, {event.count:,} {noun}")
            if interrupts.requested:
                break
    say("interrupted; the same command starts anew")
    return b"", {}


def compress_field(method: str, options: CompressOptions, opened: Source, goal: Goal, started: float) -> int:
    """A voxel field by `rdo`: under one lambda, without fine-tuning. The arguments are those of `compress`."""
    from scenerep.compress.views import Views
    from scenerep.compress.voxels.compressor import VoxelJob, compress_voxels
    from scenerep.io.files import write_bytes
    from scenerep.scenes import Gaussians

    scene = opened.scene
    assert not isinstance(scene, Gaussians)
    if method != "rdo":
        raise ConfigError(f"{method} compresses splats, {options.source} holds {scene.noun}", "use: compress rdo")
    capture = opened.capture(options.data, options.max_side)
    background = opened.visible_background(options.background, capture)
    views = Views.of_capture(capture, capture.train, background)
    held_out = Views.of_capture(capture, capture.test, background) if capture.test else None
    licence = {} if options.licence is None else {"licence": options.licence}
    metadata = licence | opened.viewer_metadata(capture, background)
    job = VoxelJob(scene, views, goal, held_out, options.seed, metadata)
    data, report = run_trials(compress_voxels(job), scene.noun)
    if not data:
        return EXIT_INTERRUPTED
    write_bytes(options.out, data, overwrite=options.overwrite)
    _report(options, job, data, report, time.monotonic() - started)
    return EXIT_DONE


def _report(options: CompressOptions, job: VoxelJob, data: bytes, report: dict[str, Any], seconds: float) -> None:
    """Measured on what the file decodes to."""
    from scenerep.coding import decode_file, summarise

    scene = decode_file(data).scene
    views = job.held_out or job.views
    before, after = views.psnr(job.scene), views.psnr(scene)
    plain = sum(array.nbytes for name, array in job.scene.arrays().items() if not name.startswith("index"))
    result: dict[str, Any] = {
        "file": str(options.out),
        "bytes": len(data),
        "count": len(scene),
        "count_before": len(job.scene),
        "ratio_to_float32": plain / len(data),
        "psnr": after,
        "psnr_before": before,
        "measured_on": "held-out photographs" if job.held_out else "photographs",
        "seconds": round(seconds, 1),
        "streams": summarise(data).streams,
        **{key: value for key, value in report.items() if key != "count"},
    }
    if options.json:
        print_json(result)
        return
    print_table([
        ("file", str(options.out)),
        ("size", f"{format_bytes(len(data))}, {result['ratio_to_float32']:.1f} times smaller than its float32 values"),
        (scene.noun, f"{len(scene):,} of {len(job.scene):,}, {len(data) / max(len(scene), 1):.2f} bytes each"),
        ("PSNR", f"{after:.2f} dB on {result['measured_on']}, before {before:.2f} dB"),
        ("time", f"{seconds:.0f} s"),
    ])  # fmt: skip
