""".sri files: what goes in comes out, and a broken file gives a FormatError and nothing else."""

from __future__ import annotations

import struct
import zlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from scenerep import codecs
from scenerep.codecs.container import Head, read_container, write_container
from scenerep.codecs.files import shrink
from scenerep.errors import ConfigError, DataError, FormatError
from scenerep.image_codecs import CODECS

WAVEFORM = [name for name in CODECS if name != "gaussian2d"]
"""Those that come as near to any picture as one likes; gaussian2d has tests of its own."""


@pytest.mark.parametrize("codec", WAVEFORM)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 1), (17, 3, 3), (40, 33, 4), (31, 32, 2), (12, 12)])
def test_shapes(codec: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, shape).astype(np.uint8)
    found = codecs.decode(codecs.encode(pixels, codec=codec, preset="fast", psnr=45))
    expected = pixels if pixels.ndim == 3 else pixels[..., None]
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    if expected.shape[2] in (2, 4):
        np.testing.assert_array_equal(found[..., -1], expected[..., -1])
    assert np.abs(found.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("codec", WAVEFORM)
def test_sixteen_bits(codec: str, picture: np.ndarray) -> None:
    deep = picture.astype(np.uint16) * 257
    deep[::2] += 100
    alpha = (np.arange(96 * 120).reshape(96, 120, 1) * 5).astype(np.uint16)
    found = codecs.decode(codecs.encode(np.concatenate([deep, alpha], axis=2), codec=codec, preset="fast", psnr=50))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 3:], alpha)
    error = np.mean((found[..., :3] / 65535 - deep / 65535) ** 2)
    assert -10 * np.log10(error) > 49


@pytest.mark.parametrize("codec", WAVEFORM)
def test_goals(codec: str, picture: np.ndarray) -> None:
    data = codecs.encode(picture, codec=codec, preset="fast", bits_per_pixel=1.0)
    assert abs(len(data) * 8 / (96 * 120) - 1) <= 0.02
    assert abs(len(codecs.encode(picture, codec=codec, preset="fast", size=2000)) / 2000 - 1) <= 0.02
    found = codecs.decode(codecs.encode(picture, codec=codec, preset="fast", psnr=36))
    assert abs(-10 * np.log10(np.mean((found / 255 - picture / 255) ** 2)) - 36) < 0.3
    small, large = (len(codecs.encode(picture, codec=codec, preset="fast", lam=lam)) for lam in (1e-3, 1e-5))
    assert small < large


def test_what_is_kept(picture: np.ndarray) -> None:
    data = codecs.encode(picture, preset="fast", icc=b"icc", exif=b"exif", metadata={"title": "Ä"})
    head = codecs.read_head(data)
    assert (head.icc, head.exif, head.metadata) == (b"icc", b"exif", {"title": "Ä"})
    assert (head.width, head.height, head.channels, head.depth, head.alpha) == (120, 96, 3, 8, False)
    assert head.checksum == zlib.crc32(codecs.decode(data))


@pytest.mark.parametrize("codec", WAVEFORM)
def test_previews(codec: str, picture: np.ndarray) -> None:
    data = codecs.encode(picture, codec=codec, preset="fast", psnr=38)
    for level in (1, 2, 3):
        preview = codecs.decode(data, level=level)
        small = shrink(picture, level)
        assert preview.shape == small.shape
        assert np.abs(preview.astype(int) - small).mean() < 12
    with pytest.raises(ConfigError, match="preview level"):
        codecs.decode(data, level=17)


@pytest.mark.parametrize("codec", WAVEFORM)
def test_files_that_were_cut_off(codec: str, picture: np.ndarray) -> None:
    data = codecs.encode(picture, codec=codec, preset="fast", psnr=40)
    with pytest.raises(FormatError, match="the whole picture"):
        codecs.decode(data[: len(data) * 2 // 3])
    found = codecs.decode_file(data[: len(data) * 2 // 3], partial=True)
    assert not found.complete
    assert found.pixels.shape == picture.shape
    for size in [*range(60), *range(60, len(data), 211)]:
        for partial in (False, True):
            try:
                codecs.decode(data[:size], partial=partial)
            except FormatError as error:
                assert error.offset is None or 0 <= error.offset <= len(data)


@pytest.mark.parametrize("codec", WAVEFORM)
def test_broken_payloads(codec: str, picture: np.ndarray, rng: np.random.Generator) -> None:
    """The checksums of the container are right, so that the codec itself meets the nonsense."""
    parts = read_container(codecs.encode(picture, codec=codec, preset="fast", psnr=36))
    for _ in range(150):
        payload = bytearray(parts.payload)
        for at in rng.integers(0, min(len(payload), int(rng.choice([20, 100000]))), rng.integers(1, 6)):
            payload[at] = rng.integers(0, 256)
        if rng.random() < 0.3:
            payload = payload[: rng.integers(0, len(payload))]
        try:
            pixels = codecs.decode(write_container(parts.head, bytes(payload)))
        except FormatError:
            continue
        assert zlib.crc32(pixels) == parts.head.checksum  # the change touched nothing that counts


@hypothesis.given(st.binary(max_size=120), st.integers(0, 40))
def test_nonsense(data: bytes, keep: int) -> None:
    start = write_container(Head("dct", 8, 8, 3, 8, False, 0), b"")[:keep]
    with pytest.raises(FormatError):
        codecs.decode(start + data)


@pytest.mark.parametrize(
    ("place", "form", "value", "message"),
    [
        (4, "B", 9, "version 1"),
        (5, "B", 2, "1 or 3 channels"),
        (6, "B", 10, "8 or 16 bits"),
        (8, "I", 0, "pixels"),
        (8, "I", 0xFFFFFFF0, "pixels"),
    ],
)
def test_hostile_heads(place: int, form: str, value: int, message: str) -> None:
    data = bytearray(write_container(Head("dct", 8, 8, 3, 8, False, 0), b"x" * 20))
    struct.pack_into(f"<{form}", data, place, value)
    end = len(data) - 24
    struct.pack_into("<I", data, end, zlib.crc32(data[:end]))
    with pytest.raises(FormatError, match=message):
        codecs.decode(bytes(data))


def test_other_pixels_than_promised(picture: np.ndarray) -> None:
    parts = read_container(codecs.encode(picture, preset="fast"))
    head = Head(**{**vars(parts.head), "checksum": parts.head.checksum ^ 1})
    with pytest.raises(FormatError, match="pixels with the right checksum"):
        codecs.decode(write_container(head, parts.payload))
    head = Head(**{**vars(parts.head), "width": 119})
    with pytest.raises(FormatError, match="a picture of"):
        codecs.decode(write_container(head, parts.payload))


def test_what_cannot_be_encoded(picture: np.ndarray) -> None:
    with pytest.raises(DataError, match="type float64"):
        codecs.encode(picture / 255)
    with pytest.raises(DataError, match="no picture"):
        codecs.encode(picture[:0])
    with pytest.raises(ConfigError, match="no codec 'gif'"):
        codecs.encode(picture, codec="gif")
    with pytest.raises(ConfigError, match="cannot be had together"):
        codecs.encode(picture, psnr=30, size=100)
    with pytest.raises(ConfigError, match="no setting 'colour'"):
        codecs.encode(picture, codec="dct", colour=3)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (64, 64)])
@pytest.mark.parametrize("level", [0, 1, 3])
def test_shrink_is_the_mean(shape: tuple[int, int], level: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    found, step = shrink(pixels, level), 1 << level
    for y in range(found.shape[0]):
        for x in range(found.shape[1]):
            rows = np.minimum(np.arange(y * step, (y + 1) * step), shape[0] - 1)
            columns = np.minimum(np.arange(x * step, (x + 1) * step), shape[1] - 1)
            mean = pixels[np.ix_(rows, columns)].mean(axis=(0, 1))
            assert np.abs(found[y, x] - mean).max() <= 0.5
