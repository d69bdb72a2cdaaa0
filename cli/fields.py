"""What `train`, `eval`, `export` and `compress` do with coordinate networks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenerep.cli.common import EXIT_DONE, EXIT_INTERRUPTED, format_bytes, print_json, print_table, say
from scenerep.cli.compress_field import run_trials
from scenerep.cli.sources import Source
from scenerep.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from scenerep.cli.compress import CompressOptions
    from scenerep.compress.base import Goal
    from scenerep.compress.networks import NetworkJob
    from scenerep.implicit.subjects import Subject
    from scenerep.meshes.config import MeshConfig
    from scenerep.scenes import NeuralField

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff")


def is_network(source: Source) -> bool:
    """Whether a source is the network of a picture or a surface; that of a radiance field is drawn as voxels."""
    from scenerep.scenes import NeuralField

    return isinstance(source.scene, NeuralField)


def network_of(source: Source) -> NeuralField:
    """The network of a source that has one."""
    assert source.network is not None
    return source.network


def subject_of(source: Source, data: Path | None, max_side: int | None = None) -> Subject:
    """The picture, mesh or capture at `data`, or else that of the run.

    Raises:
        DataError: neither is there, or it is of another kind than the network.
    """
    from scenerep.cli.training import open_field_subject
    from scenerep.implicit.config import FieldConfig

    if data is None and source.run is None:
        raise DataError(f"{source.path} does not say which file it was made from", "name it with --data")
    place, config, test_every = data, FieldConfig(), 8
    if source.run is not None:
        place, test_every = data or source.run.data, source.run.test_every
        config = source.run.typed_config(FieldConfig)
        max_side = source.run.max_side if max_side is None else max_side
    assert place is not None
    if not place.exists():
        raise DataError(f"{place}: what {source.path} was trained on is not there", "say where it is with --data")
    subject = open_field_subject(place, max_side, test_every, config)
    if subject.name != network_of(source).subject:
        raise DataError(f"{place} is a {subject.name}, the network holds a {network_of(source).subject}")
    return subject


def measure(source: Source, data: Path | None, max_side: int | None) -> tuple[dict[str, Any], np.ndarray]:
    """(what `eval` prints, a picture of the truth, the network and their difference)."""
    from scenerep.events import Evaluated
    from scenerep.implicit import sheet
    from scenerep.implicit.evaluate import network_of as torch_network

    scene = network_of(source)
    subject = subject_of(source, data, max_side)
    for warning in subject.warnings:
        say(f"warning: {warning}")
    found = subject.measure(torch_network(scene), 0, full=True)
    result: dict[str, Any] = {"source": str(source.path), "subject": scene.subject, "count": len(scene)}
    if source.run is not None:
        seconds = scene.metadata.get("seconds")
        result |= {"minutes": None if seconds is None else seconds / 60, "step": scene.metadata.get("step")}
    if isinstance(found, Evaluated):
        result |= {"psnr": found.psnr, "ssim": found.ssim}
    else:
        result |= {"f_score": found.f_score, "distance": found.distance}
    return result, sheet.comparison(scene, subject)


def export_network(source: Source, out: Path, mesh: MeshConfig, overwrite: bool) -> dict[str, Any]:
    """Writes a network's picture or surface. Returns what `export --json` prints.

    Raises:
        ConfigError: the ending does not fit what the network holds.
    """
    scene = network_of(source)
    ending = out.suffix.lower()
    result: dict[str, Any] = {"file": str(out), "count": len(scene)}
    if ending in PICTURE_ENDINGS:
        from scenerep.codecs.pictures import Stored, write_picture
        from scenerep.evaluation.pictures import to_uint8
        from scenerep.implicit.picture import draw_picture

        pixels = to_uint8(draw_picture(scene))
        write_picture(out, Stored(pixels), overwrite=overwrite)
        result |= {"format": ending[1:], "width": pixels.shape[1], "height": pixels.shape[0]}
    elif ending in (".glb", ".ply", ".obj"):
        from scenerep.implicit.extract import field_mesh
        from scenerep.meshes.write import write_mesh

        surface = field_mesh(scene, mesh)
        write_mesh(surface, out, overwrite=overwrite)
        result |= {"format": "mesh", "vertices": len(surface.vertices), "triangles": len(surface.triangles)}
    else:
        known = ".glb, .ply, .obj for a surface; .png, .jpg, .webp, .avif, .tif for a picture"
        hint = "scenerep compress rdo writes .srz" if ending == ".srz" else known
        raise ConfigError(f"{out}: a network is not written to {ending or 'a file without ending'}", hint)
    return result | {"bytes": out.stat().st_size, "lost": ["the network's weights (compress keeps them)"]}


def compress_field_network(method: str, options: CompressOptions, source: Source, goal: Goal, started: float) -> int:
    """A network by `rdo`: under one lambda, without fine-tuning. The arguments are those of `compress`."""
    from scenerep.compress.networks import NetworkJob, compress_network
    from scenerep.io.files import write_bytes

    if method != "rdo":
        raise ConfigError(f"{method} compresses splats, {options.source} holds a network", "use: compress rdo")
    subject = subject_of(source, options.data, options.max_side)
    say("measuring what an error of each weight costs")
    subject.prepare(options.seed)
    licence = {} if options.licence is None else {"licence": options.licence}
    job = NetworkJob(network_of(source), subject, goal, options.seed, licence)
    data, report = run_trials(compress_network(job), "weights")
    if not data:
        return EXIT_INTERRUPTED
    write_bytes(options.out, data, overwrite=options.overwrite)
    _report(options, job, data, report, time.monotonic() - started)
    return EXIT_DONE


def _report(options: CompressOptions, job: NetworkJob, data: bytes, report: dict[str, Any], seconds: float) -> None:
    """Measured on what the file decodes to."""
    from scenerep.coding import decode_file, summarise
    from scenerep.events import Evaluated
    from scenerep.implicit.evaluate import network_of as torch_network
    from scenerep.scenes import NeuralField

    decoded = decode_file(data).scene
    assert isinstance(decoded, NeuralField)
    before, after = (job.subject.measure(torch_network(s), 0, full=True) for s in (job.scene, decoded))
    result: dict[str, Any] = {
        "file": str(options.out),
        "bytes": len(data),
        "ratio_to_float32": 4 * len(job.scene) / len(data),
        "seconds": round(seconds, 1),
        "streams": summarise(data).streams,
        **report,
    }
    if isinstance(before, Evaluated) and isinstance(after, Evaluated):
        result |= {"psnr": after.psnr, "psnr_before": before.psnr}
        quality = ("PSNR", f"{after.psnr:.2f} dB, before {before.psnr:.2f} dB")
    else:
        assert not isinstance(before, Evaluated) and not isinstance(after, Evaluated)
        result |= {"f_score": after.f_score, "f_score_before": before.f_score}
        quality = ("F-score at 1 %", f"{after.f_score:.4f}, before {before.f_score:.4f}")
    if options.json:
        print_json(result)
        return
    ratio, bits = result["ratio_to_float32"], report["bits_per_weight"]
    print_table([
        ("file", str(options.out)),
        ("size", f"{format_bytes(len(data))}, {ratio:.1f} times smaller than float32, {bits:.2f} bits a weight"),
        quality,
        ("time", f"{seconds:.0f} s"),
    ])  # fmt: skip
