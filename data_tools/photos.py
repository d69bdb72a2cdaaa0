"""A folder of photographs becomes a capture: cameras from structure from motion, straightened pictures, points."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scenerep.captures import Capture, write_capture
from scenerep.data_tools.check import check_capture
from scenerep.data_tools.colmap import quiet_pycolmap
from scenerep.data_tools.images import SUFFIXES, list_pictures
from scenerep.data_tools.prepare import CameraSharing, Prepared, natural_order, prepare
from scenerep.data_tools.report import Report
from scenerep.data_tools.sfm import SfmOptions, Solution, reconstruct
from scenerep.data_tools.solution import level_world, to_capture, write_colmap
from scenerep.errors import DataError

Progress = Callable[[str, int, int], None]

SFM_SIDE = 1200
"""Longest side of the pictures that features are looked for in. Measured (benchmarks/results/sfm.md): 1600 places the
cameras no better (fox 0.10 % of the extent, fountain_p11 0.04 % with both) and costs 1.6 times the CPU time; it gives
1.4 to 1.7 times the points."""

MIN_OBSERVATIONS = 100
"""Points that a picture must see on average. Views that hardly overlap give small wrong models with about 50; the
weakest good captures that we know have 240."""

_NOT_READ = (".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf")
_ADVICE = (
    "take more pictures, each showing at least two thirds of what the one before shows; move sideways instead of "
    "turning on the spot; avoid blur, bare walls, glass and things that move"
)


@dataclass(frozen=True)
class PhotoOptions:
    """How photographs become a capture.

    max_side: longest side of the stored pictures. masks: folder of masks, black = ignore. camera: who shares a camera,
    see `prepare`. test_every: every so many pictures are held out. min_registered: fail if a smaller share of the
    pictures finds its place. sfm_side: longest side of the pictures that features are looked for in. sfm: how cameras
    are found.
    """

    max_side: int = 1600
    masks: Path | None = None
    camera: CameraSharing = "auto"
    test_every: int = 8
    min_registered: float = 0.5
    sfm_side: int = SFM_SIDE
    sfm: SfmOptions = field(default_factory=SfmOptions)


def process_photos(
    folder: Path | str,
    out: Path | str,
    options: PhotoOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Finds the cameras of the photographs below `folder` and writes the capture `out`.

    `out` gets capture.json, images/ (undistorted), masks/, points.ply, report.json and sparse/0 (COLMAP, for other
    tools). It appears whole or not at all.

    Args:
        folder: JPEG, PNG, WebP, TIFF ...; subfolders count. EXIF orientation, focal length and GPS are used.
        out: The folder to make.
        options: Defaults suit a few dozen photographs of one place.
        overwrite: Replace `out` if it exists.
        progress: Called as progress(stage, done, total); stages: pictures, features, matches, cameras, writing.

    Raises:
        DataError: fewer than three usable pictures, too few of them overlap, or `out` exists.
    """
    folder, out, options = Path(folder), Path(out), options or PhotoOptions()
    check_out(out, overwrite)
    check_options(options)
    files = sorted(list_pictures(folder, recursive=True), key=lambda path: natural_order(path.relative_to(folder)))
    if options.masks is not None:
        if not options.masks.is_dir():
            raise DataError(f"{options.masks} is not a folder", "name the folder that holds the masks")
        inside = options.masks.absolute()
        files = [path for path in files if inside not in path.absolute().parents]
    # The capture may be asked for inside the folder of the photographs, and be there from the last time.
    files = [path for path in files if out.absolute() not in path.absolute().parents]
    if not files:
        raise DataError(f"{folder} holds no pictures", _no_pictures_hint(folder))
    with tempfile.TemporaryDirectory(prefix="scenerep-sfm-", ignore_cleanup_errors=True) as work:
        return finish(files, folder, out, Path(work), options, "photos", overwrite=overwrite, progress=progress)


def finish(
    files: Sequence[Path],
    root: Path,
    out: Path,
    work: Path,
    options: PhotoOptions,
    source: str,
    *,
    overwrite: bool,
    progress: Progress | None,
    video: dict | None = None,
    seconds: dict[str, float] | None = None,
    warnings: Sequence[str] = (),
    label: Path | None = None,
) -> Report:
    """The way from picture files to the written capture that photographs and video frames share.

    Args:
        files: In their natural order, all below `root`.
        root: Their names are relative to it.
        out: The capture to write.
        work: An existing folder for intermediate files.
        options: How.
        source: What the capture says it came from.
        overwrite: Replace `out`.
        progress: As in `process_photos`.
        video: What the report tells about the video.
        seconds: Stages that are done already.
        warnings: What was odd before.
        label: What messages and the capture call the source; None: `root`.

    Raises:
        DataError: as `process_photos`.
    """
    quiet_pycolmap()
    times = dict(seconds or {})
    label = label or root
    start = time.monotonic()
    prepared, skipped = prepare(
        files, root, work, side=options.sfm_side, masks=options.masks, camera=options.camera, progress=progress
    )
    times["pictures"] = round(time.monotonic() - start, 2)
    if len(prepared) < 3:
        reasons = "; ".join(skipped.values())
        raise DataError(
            f"{label}: {len(prepared)} usable pictures, at least 3 are needed" + (f" ({reasons})" if reasons else ""),
            "add pictures; 20 to 100 that overlap make a good capture",
        )
    solution = reconstruct([item.picture for item in prepared], work, options.sfm, progress)
    _check_solution(solution, prepared, label, options)
    assert solution is not None
    times |= solution.seconds
    if progress:
        progress("writing", 0, len(solution.images))  # undistortion and the check take a moment
    start = time.monotonic()
    level_world(solution)
    capture = to_capture(solution, prepared, label, source, options.test_every).resized(options.max_side)
    report = _report(solution, prepared, skipped, out, options, times)
    report.video = video
    report.cameras = _cameras(capture)
    report.warnings = [*warnings, *report.warnings, *_check_warnings(capture)]
    capture = Capture(
        capture.root, source, capture.views, capture.points, max_side=options.max_side, warnings=report.warnings
    )

    def extra(folder: Path) -> None:
        write_colmap(solution, capture, folder)
        report.seconds["writing"] = round(time.monotonic() - start, 2)
        report.seconds["total"] = round(sum(report.seconds.values()), 2)
        report.write(folder)

    writing = None if progress is None else lambda stage, done, total: progress("writing", done, total)
    write_capture(capture, out, overwrite=overwrite, pictures="pinhole", extra=extra, progress=writing)
    return report


def check_out(out: Path, overwrite: bool) -> None:
    """Says no before the work instead of after it.

    Raises:
        DataError: `out` exists and may not be replaced.
    """
    if out.exists() and not overwrite:
        raise DataError(f"{out} exists already", "choose another folder, or pass --overwrite to replace it")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file, not a folder", "choose another name for the capture")


def check_options(options: PhotoOptions) -> None:
    """Refuses values that cannot be meant.

    Raises:
        DataError: names the option and its range.
    """
    if options.max_side < 16:
        raise DataError(f"--max-side {options.max_side} is too small", "use 16 pixels and more; 1600 is usual")
    if not 0.0 <= options.min_registered <= 1.0:
        raise DataError(f"--min-registered {options.min_registered} is not a share", "use a number from 0 to 1")
    if options.test_every < 0 or options.test_every == 1:
        raise DataError(f"--test-every {options.test_every} leaves nothing to train on", "use 0 (none), or 2 and more")


def _no_pictures_hint(folder: Path) -> str:
    others = sorted({path.suffix.lower() for path in folder.rglob("*") if path.suffix.lower() in _NOT_READ})
    if others:
        return f"{', '.join(others)} files cannot be read: export them as JPEG first"
    return f"these are read: {', '.join(SUFFIXES)}"


def _check_solution(solution: Solution | None, prepared: Sequence[Prepared], root: Path, options: PhotoOptions) -> None:
    if solution is None:
        raise DataError(f"{root}: no two of the {len(prepared)} pictures could be matched with each other", _ADVICE)
    found, total = len(solution.images), len(prepared)
    missing = ", ".join(item.name for i, item in enumerate(prepared) if i not in solution.images)
    if found < 3 or found < options.min_registered * total:
        parts = ", ".join(str(size) for size in solution.models)
        raise DataError(
            f"{root}: only {found} of {total} pictures fit together (groups found: {parts}); "
            f"without a place: {missing}",
            f"{_ADVICE}; or accept a smaller share with --min-registered",
        )
    observations = solution.reconstruction.compute_mean_observations_per_reg_image()
    if observations < MIN_OBSERVATIONS:
        raise DataError(
            f"{root}: the pictures hardly overlap: {found} of {total} fit together, and each shares only "
            f"{observations:.0f} points with others (at least {MIN_OBSERVATIONS} are needed to trust the cameras)",
            _ADVICE,
        )


def _report(
    solution: Solution,
    prepared: Sequence[Prepared],
    skipped: dict[str, str],
    out: Path,
    options: PhotoOptions,
    seconds: dict[str, float],
) -> Report:
    model = solution.reconstruction
    missing = [item.name for i, item in enumerate(prepared) if i not in solution.images]
    warnings = [f"skipped: {reason}" for reason in skipped.values()]
    if missing:
        warnings.append(f"{len(missing)} of {len(prepared)} pictures found no place: {', '.join(missing)}")
    if solution.matching.startswith("neighbours"):
        warnings.append(
            "sides that look alike were told apart by the order of the pictures; "
            "if they were not taken in the order of their names, check the cameras"
        )
    elif options.sfm.ordered and solution.jumps:
        places = ", ".join(prepared[i].name for i in solution.jumps)
        warnings.append(
            f"the camera leaps after {places}: the video has cuts, or two places that look alike were taken for one"
        )
    if options.masks is not None:
        bare = [item.name for item in prepared if item.mask is None]
        if bare:
            warnings.append(f"{options.masks} has no mask for {', '.join(bare)}")
    return Report(
        out=str(out),
        registered=len(solution.images),
        total=len(prepared),
        unregistered=missing,
        skipped=skipped,
        points=model.num_points3D(),
        reprojection_px=round(model.compute_mean_reprojection_error(), 4),
        sfm_side=max(max(item.picture.width, item.picture.height) for item in prepared),
        observations=round(model.compute_mean_observations_per_reg_image(), 1),
        models=solution.models,
        cameras=[],
        matching=solution.matching,
        pairs=solution.pairs,
        features=solution.features,
        attempts=solution.attempts,
        seconds=seconds,
        warnings=warnings,
    )


def _cameras(capture: Capture) -> list[dict]:
    """Each distinct lens once, in pixels of the stored pictures."""
    seen: dict[tuple, dict] = {}
    for i, view in enumerate(capture.views):
        camera = capture.camera(i)
        distortion = list(view.camera.distortion.params) if view.camera.distortion else []
        entry = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
        entry |= {"width": camera.width, "height": camera.height, "distortion": distortion}
        seen.setdefault((*list(entry.values())[:-1], *distortion), entry)
    return list(seen.values())


def _check_warnings(capture: Capture) -> list[str]:
    """What the check of captures doubts: repeated textures can register two sides of a thing as one, for example."""
    told = []
    for finding in check_capture(capture):
        if finding.severity != "info":
            some = ", ".join(finding.names[:6]) + (" ..." if len(finding.names) > 6 else "")
            told.append(f"{finding.what}{f' ({some})' if some else ''}: {finding.advice}")
    return told
