"""Choosing frames of a video: sharp, evenly spread in time, no doubles. No video is held in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scenerep.cpus import usable_cpus
from scenerep.errors import DataError

Progress = Callable[[str, int, int], None]

_GREY_SIDE = 640  # sharpness is judged at this size: smaller hides motion blur, larger costs time and sees noise
_THUMB_SIDE = 48
_SAME = 1.5  # mean difference of two thumbnails in grey levels; a camera at rest stays below, a step of 1 % above
_BLURRED = 0.2  # share of the median sharpness: fades, covered lenses, quick pans
_APART = 0.4  # smallest distance of two chosen frames, in bins
_HDR = {16: "PQ (HDR10, Dolby Vision)", 18: "HLG"}  # ISO/IEC 23091-2 transfer characteristics


@dataclass(frozen=True)
class Frame:
    """One decoded frame: its number, its time in seconds, its sharpness, and a small grey copy uint8 [h, w]."""

    index: int
    time: float
    sharpness: float
    thumb: np.ndarray


@dataclass(frozen=True)
class Survey:
    """All frames of a video as small summaries. `warnings`: what is odd about the file."""

    frames: list[Frame]
    rotation_deg: int
    warnings: list[str]


def sharpness(grey: np.ndarray) -> float:
    """Variance of the Laplacian of a grey picture uint8 [h, w] (Pech-Pacheco et al., ICPR 2000): higher is sharper."""
    g = grey.astype(np.float32)
    if min(g.shape) < 3:
        return 0.0
    laplacian = g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]
    return float(laplacian.var())


def survey(path: Path, progress: Progress | None = None) -> Survey:
    """Decodes the whole video once and judges each frame.

    Args:
        path: The video.
        progress: Called as progress("decoding", done, total); total is the container's guess.

    Raises:
        DataError: not a video, no frame can be decoded, or it is HDR.
    """
    frames: list[Frame] = []
    warnings: list[str] = []
    rotation = 0
    with _open(path) as container:
        stream = container.streams.video[0]
        expected = int(stream.frames or 0)
        rate = float(stream.average_rate or 30)
        time = -1.0 / rate
        for index, frame in enumerate(_decode(container, stream, path, warnings)):
            if index == 0:
                rotation = int(frame.rotation)
            time = float(frame.time) if frame.time is not None else time + 1.0 / rate
            scale = _GREY_SIDE / max(frame.width, frame.height, _GREY_SIDE)
            size = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
            grey = frame.reformat(width=size[0], height=size[1], format="gray").to_ndarray()
            frames.append(Frame(index, time, sharpness(grey), _thumb(grey)))
            if progress and index % 10 == 0:
                progress("decoding", index + 1, max(expected, index + 2))
    if not frames:
        raise DataError(f"{path}: no frame can be decoded", "the file may be truncated: copy or record it again")
    if len(frames) < 0.98 * expected and not warnings:
        warnings.append(f"{path} promises {expected} frames, {len(frames)} could be decoded: it may be truncated")
    if progress:
        progress("decoding", len(frames), len(frames))
    return Survey(frames, rotation, warnings)


def choose(frames: list[Frame], count: int) -> list[Frame]:
    """At most `count` frames in order of time: the sharpest of each of `count` equal spans of time.

    Left out: a frame too close to the one chosen before, too much like it (the camera stood still), or blurred against
    the others. Gaps of a variable frame rate stay gaps.
    """
    if count < 1 or not frames:
        return []
    ordered = sorted(frames, key=lambda frame: frame.time)
    start, span = ordered[0].time, max(ordered[-1].time - ordered[0].time, 1e-9)
    width = span / count
    bins: list[list[Frame]] = [[] for _ in range(count)]
    for frame in ordered:
        bins[min(count - 1, int((frame.time - start) / width))].append(frame)
    best = [max(frame.sharpness for frame in members) for members in bins if members]
    limit = _BLURRED * float(np.median(best))
    # No closer than the bins ask for; where there are fewer frames than bins, every frame is far enough.
    apart = _APART * width if len(ordered) > count else 0.0
    chosen: list[Frame] = []
    for members in bins:
        usable = [frame for frame in members if frame.sharpness >= limit and frame.sharpness > 0]
        if chosen:
            last = chosen[-1]
            usable = [f for f in usable if f.time - last.time >= apart and _difference(f, last) >= _SAME]
        if usable:
            chosen.append(max(usable, key=lambda frame: (frame.sharpness, -frame.index)))
    return chosen


def save_frames(path: Path, chosen: list[Frame], folder: Path, progress: Progress | None = None) -> list[Path]:
    """Decodes again and writes the chosen frames as frame_000123.jpg: upright, with square pixels.

    JPEG of quality 98 without colour subsampling: beyond what the video's own compression left.

    Args:
        path: The video.
        chosen: Some of the frames of its survey.
        folder: An existing folder.
        progress: Called as progress("frames", done, total).
    """
    wanted = {frame.index for frame in chosen}
    last = max(wanted, default=-1)
    files: list[Path] = []
    with _open(path) as container:
        for index, frame in enumerate(_decode(container, container.streams.video[0], path, [])):
            if index in wanted:
                files.append(folder / f"frame_{index:06d}.jpg")
                _upright(frame, container.streams.video[0]).save(files[-1], quality=98, subsampling=0)
                if progress:
                    progress("frames", len(files), len(wanted))
            if index >= last:
                break
    return files


def _thumb(grey: np.ndarray) -> np.ndarray:
    image = Image.fromarray(grey)
    image.thumbnail((_THUMB_SIDE, _THUMB_SIDE), Image.Resampling.BOX)
    return np.asarray(image)


def _difference(a: Frame, b: Frame) -> float:
    if a.thumb.shape != b.thumb.shape:  # the resolution changed in the middle of the stream
        return float("inf")
    return float(np.abs(a.thumb.astype(np.float32) - b.thumb).mean())


def _upright(frame: Any, stream: Any) -> Image.Image:
    image = frame.to_image()
    aspect = frame_aspect(stream)
    if aspect != 1.0:
        image = image.resize((max(1, round(image.width * aspect)), image.height), Image.Resampling.LANCZOS)
    # The display matrix turns counter-clockwise by `rotation` degrees, like PIL.
    turns = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
    turn = turns.get(round(frame.rotation / 90) * 90 % 360)
    return image.transpose(turn) if turn is not None else image


def frame_aspect(stream: Any) -> float:
    """Width of a stored pixel over its height; 1 where the file does not say."""
    ratio = stream.sample_aspect_ratio
    return float(ratio) if ratio else 1.0


def _open(path: Path) -> Any:
    import av
    import av.error
    import av.logging

    if not path.is_file():
        raise DataError(f"{path} is not a file", "name a video file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)", "copy or record it again")
    av.logging.set_level(av.logging.PANIC)  # we say what is wrong ourselves
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, ValueError) as error:
        raise DataError(
            f"{path}: this is not a video, or it is truncated ({_reason(error)})", "copy or record it again"
        ) from error
    if not container.streams.video:
        container.close()
        raise DataError(f"{path} has no pictures, only sound or data", "name a video file")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = usable_cpus()
    return container


def _decode(container: Any, stream: Any, path: Path, warnings: list[str]) -> Iterator[Any]:
    """Frames until the end or the first place that cannot be decoded, which is noted in `warnings`."""
    import av.error

    first = True
    decoder = container.decode(stream)
    while True:
        try:
            frame = next(decoder)
        except StopIteration:
            return
        except (av.error.FFmpegError, ValueError) as error:
            warnings.append(f"{path} is damaged or truncated: used what came before the fault ({_reason(error)})")
            return
        if first and int(frame.color_trc) in _HDR:
            raise DataError(
                f"{path} is an HDR video ({_HDR[int(frame.color_trc)]}): its colours would come out wrong",
                "turn HDR off when recording, or convert it to SDR (BT.709) with a video editor first",
            )
        first = False
        if not getattr(frame, "is_corrupt", False):
            yield frame


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
