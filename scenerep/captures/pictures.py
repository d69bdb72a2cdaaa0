"""Pictures on disk to uint8 arrays, in every mode and orientation that a photograph may have."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from scenerep.errors import DataError

_ORIENTATION_TAG = 0x0112
_HINT = "replace the file, or remove it from the capture"


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) after EXIF rotation; reads the header only.

    Raises:
        DataError: the file is missing, empty or not a picture.
    """
    with _open(path) as image:
        return _upright_size(image)


def load_picture(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """The picture as uint8 [h, w, 3], or [h, w, 4] (straight alpha) if it has transparency.

    EXIF orientation is applied; grey, palette, CMYK and 16-bit pictures are converted.

    Args:
        path: The picture.
        size: (width, height) that its camera states. A camera that fits the pixels as stored and not as rotated
            (calibrated by a tool that ignores EXIF) gets them as stored.

    Raises:
        DataError: the file is missing, empty, truncated, not a picture, or its size is not `size`.
    """
    with _open(path) as image:
        upright = size is None or _upright_size(image) == size or image.size != size
        found = _upright_size(image) if upright else image.size
        if size is not None and found != size:
            raise DataError(
                f"{path}: the picture is {found[0]}x{found[1]}, but its camera states {size[0]}x{size[1]}",
                "use the pictures that the cameras were computed from",
            )
        try:
            image.load()
            return _to_uint8(ImageOps.exif_transpose(image) if upright else image, path)
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise DataError(f"{path}: the picture is broken: {error}", _HINT) from error


def load_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """bool [h, w]: True where the mask picture is not black (its alpha, if it has one, counts instead).

    A mask of another size than `size` (width, height) is resized to it (nearest): masks are often stored smaller.

    Raises:
        DataError: the file is missing or broken.
    """
    with _open(path) as image:
        try:
            image.load()
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise DataError(f"{path}: the mask is broken: {error}", _HINT) from error
        mask = ImageOps.exif_transpose(image)
        channels = mask.getbands()
        # An alpha that is 255 everywhere says nothing: then the colours are the mask.
        if "A" in channels and mask.getchannel("A").getextrema() != (255, 255):
            grey = mask.getchannel("A")
        else:
            grey = mask.convert("L") if not mask.mode.startswith("I") else mask
        if grey.size != size:
            grey = grey.resize(size, Image.Resampling.NEAREST)
        values = np.asarray(grey)
        # Half of the range, so that JPEG ringing around black does not count as used; masks of 0 and 1 exist too.
        return values > (values.max() / 2 if values.size and values.max() > 0 else 0)


def load_depth(path: Path, scale: float) -> np.ndarray:
    """float32 [h, w] in world units (stored value times `scale`); 0 where unknown.

    Reads 8 or 16-bit grey pictures and .npy files.

    Raises:
        DataError: the file is missing or broken, or is not a single-channel picture.
    """
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: the depth map is broken: {error}", _HINT) from error
    else:
        with _open(path) as image:
            try:
                values = np.asarray(image)
            except (OSError, SyntaxError, ValueError, EOFError) as error:
                raise DataError(f"{path}: the depth map is broken: {error}", _HINT) from error
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "uif":
        raise DataError(f"{path}: a depth map has one number a pixel, this one has shape {values.shape}")
    depth = values.astype(np.float32) * np.float32(scale)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise DataError(f"{path}: the picture is missing", "put the file back, or fix the path in the capture")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)", _HINT)
    try:
        with warnings.catch_warnings():
            # Between 90 and 180 megapixels PIL warns of a "decompression bomb"; scans and panoramas are that large.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path)
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: this is not a picture, or in a format that is not supported", _HINT) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: the picture is too large: {error}", "scale it down first") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{path}: the picture is broken: {error}", _HINT) from error


def _upright_size(image: Image.Image) -> tuple[int, int]:
    try:
        turned = image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8)
    except (OSError, SyntaxError, ValueError, EOFError):  # damaged EXIF in a good picture
        turned = False
    return (image.size[1], image.size[0]) if turned else image.size


def _to_uint8(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode in ("RGB", "RGBA") and "transparency" not in image.info:
        return np.array(image)
    if image.mode.startswith("I"):  # 16 bits, in any byte order; "I" holds the same values in 32
        values = np.asarray(image).astype(np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{path}: a grey picture with values outside 0..65535", _HINT)
        grey = np.round(values / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise DataError(f"{path}: floating-point pictures are not supported", "convert it to 8 or 16 bits")
    transparent = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa")
    return np.array(image.convert("RGBA" if transparent else "RGB"))
