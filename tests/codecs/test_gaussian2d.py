"""The `gaussian2d` codec: native against plain, gradients, streams, sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scenerep import codecs
from scenerep.codecs.gaussian2d import reference, stream
from scenerep.codecs.gaussian2d.quantised import LARGEST, SMALLEST, TILT, Quantised, from_floats, rows_of, to_floats
from scenerep.errors import ConfigError, FormatError
from scenerep.native import native


def gaussians(rng: np.random.Generator, count: int, width: int, height: int) -> Quantised:
    values = np.column_stack([
        rng.integers(0, 2 * width + 1, count),
        rng.integers(0, 2 * height + 1, count),
        rng.integers(SMALLEST, LARGEST + 1, (count, 2)),
        rng.integers(-TILT, TILT + 1, count),
        rng.integers(-40, 41, (count, 3)),
    ]).astype(np.int32)  # fmt: skip
    return Quantised(width, height, 1, (20, 40), (100, 110, 120), values)


@pytest.mark.parametrize(("width", "height", "count"), [(1, 1, 5), (40, 33, 60), (17, 50, 0), (70, 20, 40)])
def test_integers_equal_plain(rng: np.random.Generator, width: int, height: int, count: int) -> None:
    rows = rows_of(gaussians(rng, count, width, height))
    np.testing.assert_array_equal(native().gaussians2d_draw(rows, width, height), reference.draw(rows, width, height))


def test_integers_come_close_to_floats(rng: np.random.Generator) -> None:
    q = gaussians(rng, 30, 40, 32)
    q.values[:, 2:4] = rng.integers(4, 16, (30, 2))
    q.values[:, 4] = rng.integers(-8, 9, 30)
    exact = reference.draw_floats(to_floats(q.values, q), 40, 32) * 255
    found = native().gaussians2d_draw(rows_of(q), 40, 32) / 2**18
    assert np.abs(found - exact).max() < 1.0


def test_the_fit_sees_the_same_picture_and_its_slope(rng: np.random.Generator) -> None:
    q = gaussians(rng, 12, 30, 26)
    q.values[:, 2:4] = rng.integers(3, 14, (12, 2))
    q.values[:, 4] = rng.integers(-6, 7, 12)
    g = to_floats(q.values, q)
    target = rng.random((3, 26, 30)).astype(np.float32)
    empty = np.zeros_like(target)
    image, gradient, loss = native().gaussians2d_differentiate(g, target, empty)
    np.testing.assert_allclose(image, reference.draw_floats(g, 30, 26), atol=1e-5)

    def error(values: np.ndarray) -> float:
        return float(((reference.draw_floats(values, 30, 26) - target) ** 2).sum())

    assert loss == pytest.approx(error(g), rel=1e-5)
    exact = np.zeros(g.shape)
    for i in range(g.shape[0]):
        for j in range(8):
            moved = [g.astype(np.float64).copy() for _ in range(2)]
            moved[0][i, j] += 1e-5
            moved[1][i, j] -= 1e-5
            exact[i, j] = (error(moved[0]) - error(moved[1])) / 2e-5
    np.testing.assert_allclose(gradient, exact, rtol=2e-3, atol=2e-3 * np.abs(exact).max())


@pytest.mark.parametrize("count", [0, 1, 200])
def test_streams(rng: np.random.Generator, count: int) -> None:
    q = gaussians(rng, count, 64, 48)
    q.values[:, 2:4] = rng.integers(SMALLEST, 12, (count, 2))
    payload = stream.write(q, deep=False, grey=False)
    found, deep, grey = stream.read(payload, "test", 0)
    assert (deep, grey, found.width, found.height, found.background) == (False, False, 64, 48, q.background)
    order = np.lexsort(q.values.T)
    np.testing.assert_array_equal(found.values[np.lexsort(found.values.T)], q.values[order])
    assert stream.write(found, deep=False, grey=False) == payload


def test_rounding_comes_back(rng: np.random.Generator) -> None:
    q = gaussians(rng, 50, 64, 48)
    np.testing.assert_array_equal(from_floats(to_floats(q.values, q), q), q.values)


def test_small_files_cannot_ask_for_much(rng: np.random.Generator) -> None:
    q = gaussians(rng, 3000, 64, 48)
    q.values[:] = q.values[0]
    q.values[:, 2:4] = LARGEST
    with pytest.raises(FormatError, match="over a pixel"):
        stream.read(stream.write(q, deep=False, grey=False), "test", 0)
    huge = replace(gaussians(rng, 1, 4, 4), width=1 << 20, height=1 << 20)
    payload = bytearray(stream.write(gaussians(rng, 1, 4, 4), deep=False, grey=False))
    payload[1:9] = int(huge.width).to_bytes(4, "little") * 2
    with pytest.raises(FormatError, match="a picture that fits"):
        stream.read(bytes(payload), "test", 0)
    payload = bytearray(stream.write(gaussians(rng, 1, 4, 4), deep=False, grey=False))
    payload[9:13] = (1 << 31).to_bytes(4, "little")
    with pytest.raises(FormatError, match="Gaussians that fit"):
        stream.read(bytes(payload), "test", 0)


def test_more_bits_make_a_better_picture(picture: np.ndarray) -> None:
    errors = []
    for size in (400, 1500):
        data = codecs.encode(picture, codec="gaussian2d", preset="fast", size=size)
        assert 0.96 * size <= len(data) <= 1.01 * size
        errors.append(float(np.mean((codecs.decode(data).astype(float) - picture) ** 2)))
    assert errors[1] < 0.8 * errors[0]
    assert errors[0] < float(picture.astype(float).var(axis=(0, 1)).mean())  # better than the mean colour


@pytest.mark.parametrize("shape", [(1, 1, 3), (9, 1, 1), (20, 31, 2)])
def test_shapes_and_depths(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    for dtype in (np.uint8, np.uint16):
        pixels = rng.integers(0, 256, shape).astype(dtype)
        found = codecs.decode(codecs.encode(pixels, codec="gaussian2d", preset="fast", count=3))
        assert found.shape == shape
        assert found.dtype == dtype


def test_broken_payloads(rng: np.random.Generator) -> None:
    q = gaussians(rng, 40, 32, 32)
    q.values[:, 2:4] = rng.integers(0, 12, (40, 2))
    payload = stream.write(q, deep=False, grey=False)
    for _ in range(200):
        changed = bytearray(payload)
        for at in rng.integers(0, len(payload), 2):
            changed[at] = rng.integers(0, 256)
        try:
            found, _, _ = stream.read(bytes(changed[: rng.integers(1, len(payload) + 1)]), "test", 0)
            assert found.width * found.height <= stream.PIXELS_PER_BYTE * len(payload)
        except FormatError:
            pass


def test_settings_that_cannot_be(picture: np.ndarray) -> None:
    for goal in ({"lam": 0.1}, {"count": 0}, {"count": 5, "psnr": 30.0}):
        with pytest.raises(ConfigError):
            codecs.encode(picture, codec="gaussian2d", **goal)
