"""The `dct` codec: native against plain Python, one knob over all rates, golden files."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from codec_pictures import photograph

from scenerep import codecs
from scenerep.codecs.container import read_container
from scenerep.codecs.dct import DctSettings, reference
from scenerep.codecs.dct import reference_blocks as blocks
from scenerep.codecs.dct.codec import Planner, read_header
from scenerep.codecs.dct.prior import trained
from scenerep.errors import ConfigError
from scenerep.native import native

GOLDEN = Path(__file__).with_name("golden_dct.sri")


def planes_of(payload: bytes) -> tuple[np.ndarray, np.ndarray]:
    """By the native decoder and by the plain one."""
    header, length = read_header(payload, "test", 0)
    height, width = header.padded
    prior = trained()
    fast, _, fault = native().dct_decode(
        payload[length:], width, height, header.channels, prior.profiles, header.plane_steps, header.deep, *prior.models
    )
    assert fault is None
    plain = reference.decode_planes(
        payload[length:], width, height, header.channels, header.plane_steps, header.deep, prior
    )
    return fast, plain


@pytest.mark.parametrize("kind", ["colour", "grey", "deep", "noise"])
@pytest.mark.parametrize("quality", [25, 60])
def test_native_equals_plain(kind: str, quality: float, rng: np.random.Generator) -> None:
    pixels = photograph(53, 44)
    if kind == "grey":
        pixels = pixels[..., :1]
    elif kind == "deep":
        pixels = pixels.astype(np.uint16) * 257 + 11
    elif kind == "noise":
        pixels = rng.integers(0, 256, (24, 40, 3)).astype(np.uint8)
    payload, decoded = Planner(np.ascontiguousarray(pixels), DctSettings(preset="medium")).encode(quality)
    fast, plain = planes_of(payload)
    np.testing.assert_array_equal(fast, plain)
    np.testing.assert_array_equal(codecs.dct.decode(payload, file="test", base=0), decoded)


@pytest.mark.parametrize("preset", ["fast", "medium", "slow"])
def test_one_knob_for_all_rates(preset: str, picture: np.ndarray) -> None:
    planner = Planner(picture, DctSettings(preset=preset))  # type: ignore[arg-type]
    sizes, errors = [], []
    for quality in (0, 20, 40, 60, 80, 100):
        payload, decoded = planner.encode(quality)
        sizes.append(len(payload))
        errors.append(float(np.mean((decoded.astype(float) - picture) ** 2)))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5


def test_longer_search_makes_better_files(picture: np.ndarray) -> None:
    """At one step and lambda, J = D + lambda R falls."""
    costs = []
    for preset in ("fast", "slow"):
        payload, decoded = Planner(picture, DctSettings(preset=preset)).encode(40)
        step = 512 * (0.25 / 512) ** 0.4
        costs.append(float(((decoded.astype(float) - picture) ** 2).sum()) + 0.13 * step**2 * 8 * len(payload))
    assert costs[1] < costs[0]


def test_golden_file() -> None:
    """Files written by older versions keep their pixels, on every machine."""
    data = GOLDEN.read_bytes()
    pixels = codecs.decode(data)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == GOLDEN.with_suffix(".sha256").read_text().strip()
    np.testing.assert_array_equal(*planes_of(read_container(data).payload))


@pytest.mark.parametrize("n", [4, 8, 16, 32])
def test_transform_is_orthonormal(n: int) -> None:
    basis = blocks.basis(n) / 4096
    np.testing.assert_allclose(basis @ basis.T, np.eye(n), atol=2e-3)


def test_no_table_hangs_on_rounding() -> None:
    """Integers made of cosines and tangents must be the same under every maths library."""
    exact = [64 * math.tan(k * math.pi / 32) for k in range(9)]
    for n in (4, 8, 16, 32):
        for k in range(n):
            scale = 4096 * math.sqrt((2 if k else 1) / n)
            exact += [scale * math.cos(math.pi * (2 * i + 1) * k / (2 * n)) for i in range(n)]
    assert min(abs(value % 1 - 0.5) for value in exact) > 1e-6


@pytest.mark.parametrize("n", [4, 8, 16, 32])
def test_predictions_of_a_ramp(n: int) -> None:
    """Along its direction a ramp is predicted exactly: pure horizontal, vertical and the diagonals."""
    line = [5 * k for k in range(2 * n + 2)]
    flat = [0] * (2 * n + 2)
    np.testing.assert_array_equal(
        blocks.predict(blocks.FIRST_DIRECTION + 24, n, (line, flat)), np.tile(np.arange(1, n + 1) * 5, (n, 1))
    )
    np.testing.assert_array_equal(
        blocks.predict(blocks.FIRST_DIRECTION + 8, n, (flat, line)), np.tile(np.arange(1, n + 1)[:, None] * 5, (1, n))
    )
    y, x = np.mgrid[0:n, 0:n]
    across = blocks.predict(blocks.FIRST_DIRECTION + 32, n, (line, flat))
    np.testing.assert_array_equal(across, 5 * np.minimum(x + y + 2, 2 * n + 1))


@pytest.mark.parametrize("settings", [{"quality": 101}, {"quality": 50, "psnr": 30}, {"preset": "slower"}])
def test_settings_that_cannot_be(settings: dict) -> None:
    with pytest.raises(ConfigError):
        DctSettings(**settings)
