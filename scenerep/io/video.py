"""Video files: H.264 in MP4, the one that every browser and phone plays."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from scenerep.errors import ConfigError, DataError, DeviceError
from scenerep.io.files import replacing

_CRF = "17"  # near transparent: what looks wrong in the video shall be the scene's fault


def write_video(
    path: str | Path, pictures: Iterable[np.ndarray], fps: float, *, overwrite: bool = True
) -> tuple[int, int]:
    """Write pictures as H.264 (yuv420p), one at a time; the file appears whole or not at all.

    Args:
        path: Ending in .mp4.
        pictures: uint8 [h, w, 3], all of one size, at least one. An odd height or width gets its last line twice, as
            the format halves the colour's resolution.
        fps: Pictures a second.

    Returns:
        (width, height) of the video.

    Raises:
        DataError: if the file cannot be written or there are no pictures.
        DeviceError: if this build of PyAV has no H.264 encoder.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise ConfigError(f"{path}: a video's name ends in .mp4")
    if not 0 < fps <= 1000:
        raise ConfigError(f"fps={fps} is not a number of pictures a second", "use 1 to 1000")
    import av  # 40 ms, and most callers of scenerep.io never write a video
    import av.error

    if "libx264" not in av.codecs_available:
        raise DeviceError(
            "this PyAV has no H.264 encoder", "run: pip install --force-reinstall av; or write a folder of PNG"
        )
    size: tuple[int, int] | None = None
    with replacing(path, overwrite=overwrite) as temporary:
        try:
            # faststart: the index stands first, so that a browser plays while it loads.
            with av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
                stream = container.add_stream("libx264", Fraction(fps).limit_denominator(1001), options={"crf": _CRF})
                stream.pix_fmt = "yuv420p"
                for picture in pictures:
                    even = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")
                    if size is None:
                        size = (even.shape[1], even.shape[0])
                        stream.width, stream.height = size
                    elif size != (even.shape[1], even.shape[0]):
                        raise DataError(f"{path}: pictures of {size} and {even.shape[1::-1]} do not fit one video")
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
                if size is None:
                    raise DataError(f"{path}: a video needs at least one picture")
                container.mux(stream.encode(None))
        except av.error.FFmpegError as error:
            raise DataError(f"{path} cannot be written: {error}", "choose another size or place") from error
    return size
