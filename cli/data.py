"""`scenerep data photos | video | synthetic | check`: making captures, and looking whether one is sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.extras import SubcommandApp

from scenerep.cli.common import format_seconds, print_json, print_table, say, stage_progress

if TYPE_CHECKING:
    from scenerep.data_tools.photos import PhotoOptions
    from scenerep.data_tools.report import Report

app = SubcommandApp()

Matching = Literal["auto", "exhaustive", "sequential", "retrieval"]
Mapper = Literal["incremental", "global"]
Lens = Literal["simple_pinhole", "simple_radial", "radial", "opencv", "opencv_fisheye"]
Features = Literal["auto", "normal", "thorough"]


@app.command(name="photos")
def photos(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    max_side: int = 1600,
    masks: Path | None = None,
    matching: Matching = "auto",
    mapper: Mapper = "incremental",
    features: Features = "auto",
    camera: Literal["auto", "single", "each"] = "auto",
    lens: Lens = "simple_radial",
    test_every: int = 8,
    min_registered: float = 0.5,
    seed: int = 0,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Make a capture from photographs of one place: find the cameras, straighten the pictures.

    20 to 100 photographs, each overlapping the one before by two thirds, taken while moving around. OUT gets the
    pictures, cameras and points (capture.json), report.json, and sparse/0 for tools that read COLMAP. About half a
    minute to two minutes for 50 photographs on two cores.

    Args:
        folder: Folder of JPEG, PNG, WebP or TIFF files; subfolders count.
        out: Capture to make.
        max_side: Longest side of the stored pictures, in pixels.
        masks: Folder with a mask per picture (NAME.png or STEM.png); what is black is ignored.
        matching: Which pictures are compared: all with all (exhaustive), neighbours by name (sequential), or
            look-alikes and GPS neighbours (retrieval); auto: exhaustive up to 80 pictures.
        mapper: How cameras are placed: one by one (incremental), or all at once (global), quicker for hundreds.
        features: How many details are compared; auto starts normal and becomes thorough if too few pictures fit.
        camera: Who shares a camera: auto asks size and EXIF; single: all of one size; each: none (mixed zoom).
        lens: Distortion model: opencv for strong wide angles, opencv_fisheye beyond 120 degrees.
        test_every: Every so many pictures are held out for measuring quality; 0 for none.
        min_registered: Fail if a smaller share of the pictures finds its place (0 to 1).
        seed: Same seed, same cameras.
        overwrite: Replace OUT if it exists.
        json: Print the report as one JSON object.
    """
    from scenerep.data_tools.photos import process_photos

    options = _options(max_side, masks, matching, mapper, features, camera, lens, test_every, min_registered, seed)
    with stage_progress() as progress:
        report = process_photos(folder, out, options, overwrite=overwrite, progress=progress)
    _show(report, json)


@app.command(name="video")
def video(
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    frames: int = 60,
    max_side: int = 1600,
    matching: Matching = "auto",
    mapper: Mapper = "incremental",
    features: Features = "auto",
    lens: Lens = "simple_radial",
    test_every: int = 8,
    min_registered: float = 0.5,
    seed: int = 0,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Make a capture from a video of one place: choose sharp frames, then as with photos.

    Walk slowly around the scene for half a minute to three minutes; nothing in it may move. HDR videos (HLG, PQ) are
    refused: turn HDR off when recording.

    Args:
        file: Video file (MP4, MOV, MKV ...).
        out: Capture to make.
        frames: Most frames to use: the sharpest of as many equal spans of time.
        max_side: Longest side of the stored pictures, in pixels.
        matching: Which frames are compared: all with all (exhaustive), neighbours in time (sequential), or those and
            look-alikes (retrieval); auto: exhaustive up to 80 frames.
        mapper: How cameras are placed: one by one (incremental), or all at once (global), quicker for hundreds.
        features: How many details are compared; auto starts normal and becomes thorough if too few frames fit.
        lens: Distortion model: opencv for strong wide angles, opencv_fisheye beyond 120 degrees.
        test_every: Every so many frames are held out for measuring quality; 0 for none.
        min_registered: Fail if a smaller share of the frames finds its place (0 to 1).
        seed: Same seed, same cameras.
        overwrite: Replace OUT if it exists.
        json: Print the report as one JSON object.
    """
    from scenerep.data_tools.video import VideoOptions, process_video

    options = _options(max_side, None, matching, mapper, features, "single", lens, test_every, min_registered, seed)
    with stage_progress() as progress:
        report = process_video(file, out, VideoOptions(frames, options), overwrite=overwrite, progress=progress)
    _show(report, json)


@app.command(name="synthetic")
def synthetic(
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    views: int = 40,
    size: int = 128,
    points: int = 4000,
    depth: bool = False,
    test_every: int = 8,
    seed: int = 0,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Make a capture of a ray-cast scene with exact cameras, to try things out without a camera.

    Args:
        out: Capture to make.
        views: Number of pictures.
        size: Their width and height in pixels.
        points: Number of sparse points.
        depth: Also write depth maps.
        test_every: Every so many pictures are held out for measuring quality; 0 for none.
        seed: Of the scene's details.
        overwrite: Replace OUT if it exists.
        json: Print one JSON object.
    """
    from scenerep.data_tools.synthetic import make_synthetic

    with stage_progress() as progress:
        capture = make_synthetic(
            out,
            views=views,
            size=size,
            seed=seed,
            points=points,
            depth=depth,
            test_every=test_every,
            overwrite=overwrite,
            progress=progress,
        )
    found = {
        "capture": str(out),
        "train": len(capture.train),
        "test": len(capture.test),
        "points": len(capture.points or ()),
    }
    _print(found, json)


@app.command(name="check")
def check(
    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")],
    json: bool = False,
) -> int:
    """Look for what is wrong or doubtful about a capture, in any format that can be opened.

    Broken pictures, too few views, exposures that differ, doubles, cameras that look away, and two sides of a thing
    registered as one. Exits with 1 if it finds errors; warnings and notes do not count.

    Args:
        path: Folder or file of the capture.
        json: Print one JSON object.
    """
    from scenerep.data_tools import open_capture
    from scenerep.data_tools.check import check_capture

    capture = open_capture(path)
    with stage_progress() as progress:
        findings = check_capture(capture, progress=progress)
    for warning in capture.warnings:
        say(f"warning: {warning}")
    if json:
        parts = [{"severity": f.severity, "what": f.what, "names": f.names, "advice": f.advice} for f in findings]
        print_json({"capture": str(path), "views": len(capture), "findings": parts})
    else:
        print(f"{path}: {len(capture)} views, {len(findings) or 'no'} findings")
        for finding in findings:
            print(f"{finding.severity}: {finding.what}\n  {finding.advice}")
            if finding.names:
                print(f"  {', '.join(finding.names)}")
    return int(any(finding.severity == "error" for finding in findings))


def _options(
    max_side: int,
    masks: Path | None,
    matching: Matching,
    mapper: Mapper,
    features: Features,
    camera: Literal["auto", "single", "each"],
    lens: Lens,
    test_every: int,
    min_registered: float,
    seed: int,
) -> PhotoOptions:
    from scenerep.data_tools.photos import PhotoOptions
    from scenerep.data_tools.sfm import SfmOptions

    sfm = SfmOptions(matching=matching, mapper=mapper, lens=lens, features=features, seed=seed)
    return PhotoOptions(max_side, masks, camera, test_every, min_registered, sfm=sfm)


def _show(report: Report, json: bool) -> None:
    for warning in report.warnings:
        say(f"warning: {warning}")
    if json:
        print_json(report.as_dict())
    else:
        rows = report.rows()
        print_table([*rows[:-1], ("took", format_seconds(report.seconds["total"])), rows[-1]])


def _print(found: dict[str, Any], json: bool) -> None:
    if json:
        print_json(found)
    else:
        print_table([(name, str(value)) for name, value in found.items()])
