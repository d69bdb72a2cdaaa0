"""Pictures come back as they were stored, in every mode that a codec takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenerep.codecs.pictures import Stored, read_picture, write_picture
from scenerep.errors import ConfigError, DataError


@pytest.mark.parametrize("ending", ["png", "tiff"])
@pytest.mark.parametrize(
    ("dtype", "channels"), [(np.uint8, 1), (np.uint8, 2), (np.uint8, 3), (np.uint8, 4), (np.uint16, 1)]
)
def test_lossless_formats(tmp_path: Path, rng: np.random.Generator, ending: str, dtype: type, channels: int) -> None:
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, (7, 5, channels)).astype(dtype)
    path = tmp_path / f"picture.{ending}"
    write_picture(path, Stored(pixels))
    found = read_picture(path).pixels
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("ending", ["png", "tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_of_colour(tmp_path: Path, rng: np.random.Generator, channels: int, ending: str) -> None:
    pixels = rng.integers(0, 65536, (16, 18, channels)).astype(np.uint16)
    path = tmp_path / f"deep.{ending}"
    write_picture(path, Stored(pixels))
    found = read_picture(path).pixels
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, pixels)


def test_profile_and_exif_are_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Stored(np.zeros((4, 6, 3), np.uint8), b"profile", exif.tobytes())
    for name in ("a.png", "a.jpg", "a.webp"):
        write_picture(tmp_path / name, stored)
        found = read_picture(tmp_path / name)
        assert found.icc == b"profile"
        assert found.exif is not None and b"\x01\x12" in found.exif
        assert found.pixels.shape == (4, 6, 3)  # not turned


@pytest.mark.parametrize("ending", ["jpg", "webp", "avif"])
def test_lossy_formats_come_close(tmp_path: Path, ending: str) -> None:
    y, x = np.mgrid[0:32, 0:48]
    pixels = np.stack([4 * x, 7 * y, 255 - 4 * x], axis=2).astype(np.uint8)
    write_picture(tmp_path / f"a.{ending}", Stored(pixels))
    error = np.abs(read_picture(tmp_path / f"a.{ending}").pixels.astype(int) - pixels)
    assert error.mean() < 4


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written as \.gif"):
        write_picture(tmp_path / "a.gif", Stored(np.zeros((2, 2, 3), np.uint8)))
    with pytest.raises(DataError, match="no 16-bit pictures"):
        write_picture(tmp_path / "a.jpg", Stored(np.zeros((2, 2, 3), np.uint16)))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match="cannot be read"):
        read_picture(tmp_path / "text.png")
