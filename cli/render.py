"""`scenerep render`: videos and pictures of a scene along a camera path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from scenerep.cli.common import Progress, print_json, print_table, stage_progress
from scenerep.cli.sources import Background, Source, open_source, require_content, require_views
from scenerep.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from scenerep.captures import Capture
    from scenerep.geometry.cameras import Camera

_DEFAULT_SIDE = 960
_DEFAULT_SECONDS = 6.0
_MAX_FRAMES = 100_000


def render_command(
    source: Annotated[Path, tyro.conf.Positional],
    path: str = "orbit",
    out: Path | None = None,
    view: int | None = None,
    frames: int | None = None,
    fps: float | None = None,
    size: int | None = None,
    depth: bool = False,
    data: Path | None = None,
    background: Background = "auto",
    backend: Literal["auto", "native", "reference", "gsplat"] = "auto",
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Draw a scene: a video, a folder of pictures, or one picture.

    Args:
        source: A run's folder or a PLY file.
        path: orbit, spiral, interpolate (through the training cameras), or a camera path saved by nerfstudio (.json).
        out: x.mp4, x.png (one picture), or a folder that is filled with PNG. Default: RUN/renders/PATH.mp4.
        view: Draw what this camera of the capture sees, one picture; the numbers are those of `eval --json`.
        frames: Pictures of the path. Default: six seconds.
        fps: Pictures a second. Default: 30, or what the camera path says.
        size: Longer side in pixels. Default: that of the photographs, at most 960.
        depth: Draw depth instead of colour: near is bright.
        data: The capture, if the run's own was moved, or to give a PLY file its cameras.
        background: Colour behind the scene. auto: white if the photographs have alpha, black otherwise.
        backend: Rasteriser.
        overwrite: Replace what is at --out.
        json: Print one JSON object.
    """
    from scenerep.io.files import refuse_existing

    if size is not None and not 1 <= size <= 16384:
        raise ConfigError(f"--size {size} is not a size in pixels", "use 1 to 16384")
    if frames is not None and not 1 <= frames <= _MAX_FRAMES:
        raise ConfigError(f"--frames {frames} is not a number of pictures", f"use 1 to {_MAX_FRAMES}")
    opened = open_source(source)
    require_content(opened)
    require_views(opened)
    target = out or _default_out(opened, path, view)
    refuse_existing(target, overwrite)
    capture = opened.capture_if_any(data)
    single = view is not None or target.suffix.lower() == ".png"
    cameras, path_fps = _cameras(opened, capture, path, view, 1 if single and frames is None else frames, fps)
    cameras = [_sized(camera, size) for camera in cameras]
    if single:
        cameras = cameras[:1]
    rate = fps or path_fps or 30.0
    colour = opened.visible_background(background, capture)
    with stage_progress() as progress:
        pictures = _draw(opened, cameras, colour, depth, backend, progress)
        _write(target, pictures, rate, overwrite)
    result: dict[str, Any] = {
        "file": str(target),
        "frames": len(cameras),
        "width": cameras[0].width,
        "height": cameras[0].height,
        "fps": rate,
    }
    if json:
        print_json(result)
        return
    picture = f"{len(cameras)} of " if len(cameras) > 1 else ""
    print_table([("file", str(target)), ("pictures", f"{picture}{cameras[0].width} x {cameras[0].height}")])


def _default_out(source: Source, path: str, view: int | None) -> Path:
    name = f"view{view}.png" if view is not None else f"{Path(path).stem}.mp4"
    return source.run.path / "renders" / name if source.run else Path(f"{source.path.stem}-{name}")


def _cameras(
    source: Source, capture: Capture | None, path: str, view: int | None, frames: int | None, fps: float | None
) -> tuple[list[Camera], float | None]:
    """The cameras to draw, and the rate that the path itself asks for."""
    if view is not None:
        every = source.cameras(None) if capture is None else [capture.camera(i) for i in range(len(capture.views))]
        if not 0 <= view < len(every):
            raise ConfigError(f"--view {view} does not exist", f"use 0 to {len(every) - 1}")
        return [every[view]], None
    if path.lower().endswith(".json"):
        from scenerep.io.camera_path import read_camera_path

        cameras, rate = read_camera_path(path)
        return cameras if frames is None else cameras[:frames], rate
    from scenerep.geometry import paths

    count = frames or max(1, round(_DEFAULT_SECONDS * (fps or 30.0)))
    given = source.cameras(capture)
    points = source.points()
    if path == "orbit":
        return paths.orbit(given, count, points), None
    if path == "spiral":
        return paths.spiral(given, count, points), None
    if path == "interpolate":
        return paths.interpolate(given, count), None
    raise ConfigError(
        f"--path {path} is not known", "use orbit, spiral, interpolate or the name of a .json camera path"
    )


def _sized(camera: Camera, size: int | None) -> Camera:
    longest = max(camera.width, camera.height)
    side = size or min(longest, _DEFAULT_SIDE)
    # Even numbers, as H.264 needs them; a path's pictures then have the same size in a video and as PNG.
    width, height = (max(2, 2 * round(side * n / longest / 2)) for n in (camera.width, camera.height))
    return camera.resized(width, height)


def _draw(
    source: Source, cameras: list[Camera], background: Any, depth: bool, backend: Any, progress: Progress
) -> Iterator[np.ndarray]:
    """uint8 [h, w, 3], one camera after the other."""
    from scenerep.evaluation import pictures
    from scenerep.render import render

    near_far: tuple[float, float] | None = None
    if depth:
        # The range of a few cameras serves all, or the colours would flicker.
        ranges = []
        for camera in cameras[:: max(1, len(cameras) // 8)]:
            drawn = render(source.scene, camera, depth=True, backend=backend)
            assert drawn.depth is not None
            ranges.append(pictures.depth_range(drawn.depth, drawn.alpha))
        near_far = min(near for near, _ in ranges), max(far for _, far in ranges)
    for done, camera in enumerate(cameras):
        drawn = render(source.scene, camera, background=background, depth=depth, backend=backend)
        if near_far is None:
            yield pictures.to_uint8(drawn.rgb)
        else:
            assert drawn.depth is not None
            yield pictures.colour_depth(drawn.depth, drawn.alpha, *near_far)
        progress("rendering", done + 1, len(cameras))


def _write(target: Path, pictures: Iterator[np.ndarray], fps: float, overwrite: bool) -> None:
    import imageio.v3 as iio

    from scenerep.io.files import replacing, replacing_folder
    from scenerep.io.video import write_video

    ending = target.suffix.lower()
    if ending == ".mp4":
        write_video(target, pictures, fps, overwrite=overwrite)
    elif ending == ".png":
        with replacing(target, overwrite=overwrite) as temporary:
            iio.imwrite(temporary, next(pictures))
    elif ending == "":
        with replacing_folder(target, overwrite=overwrite) as folder:
            for i, picture in enumerate(pictures):
                iio.imwrite(folder / f"{i:05d}.png", picture)
    else:
        raise DataError(f"{target}: no pictures are written with the ending {ending}", "use .mp4, .png or a folder")
