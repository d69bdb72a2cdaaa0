"""A video of a scene becomes a capture: sharp, spread-out frames, then the way of the photographs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from scenerep.data_tools.frames import choose, save_frames, survey
from scenerep.data_tools.photos import PhotoOptions, check_options, check_out, finish
from scenerep.data_tools.report import Report
from scenerep.errors import DataError

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class VideoOptions:
    """How a video becomes a capture. frames: how many to choose at most. photos: what follows."""

    frames: int = 60
    photos: PhotoOptions = field(default_factory=PhotoOptions)


def process_video(
    file: Path | str,
    out: Path | str,
    options: VideoOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Chooses frames of a video, finds their cameras and writes the capture `out`, as `process_photos` does.

    Rotation and pixel shape that the file states are applied; HDR is refused. Up to 80 frames all are matched with all,
    which closes loops; beyond that each with its neighbours in time and its look-alikes.

    Args:
        file: Anything FFmpeg decodes.
        out: The folder to make.
        options: Defaults suit a slow walk around a thing of half a minute to three minutes.
        overwrite: Replace `out` if it exists.
        progress: Called as progress(stage, done, total); stages: decoding, frames, then those of `process_photos`.

    Raises:
        DataError: not a video, too few usable frames, or they do not fit together.
    """
    file, out, options = Path(file), Path(out), options or VideoOptions()
    check_out(out, overwrite)
    check_options(options.photos)
    if options.frames < 3:
        raise DataError(f"--frames {options.frames} is too few", "use 3 and more; 60 is usual")
    start = time.monotonic()
    found = survey(file, progress)
    chosen = choose(found.frames, options.frames)
    if len(chosen) < 3:
        raise DataError(
            f"{file}: {len(chosen)} usable frames of {len(found.frames)}, at least 3 are needed",
            "record half a minute or more while moving slowly around the scene, in good light",
        )
    with tempfile.TemporaryDirectory(prefix="scenerep-video-", ignore_cleanup_errors=True) as folder:
        work, root = Path(folder), Path(folder) / "frames"
        root.mkdir()
        files = save_frames(file, chosen, root, progress)
        # A video has one camera and its pictures an order.
        photos = replace(options.photos, camera="single", sfm=replace(options.photos.sfm, ordered=True))
        about = {
            "file": str(file),
            "decoded": len(found.frames),
            "chosen": len(files),
            "seconds": round(found.frames[-1].time - found.frames[0].time, 3),
            "rotation_deg": found.rotation_deg,
            "indices": [frame.index for frame in chosen],
            "times": [round(frame.time, 4) for frame in chosen],
        }
        return finish(
            files,
            root,
            out,
            work,
            photos,
            "video",
            overwrite=overwrite,
            progress=progress,
            video=about,
            seconds={"frames": round(time.monotonic() - start, 2)},
            warnings=found.warnings,
            label=file,
        )
