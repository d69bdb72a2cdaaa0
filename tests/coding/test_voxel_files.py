from __future__ import annotations

import numpy as np
import pytest
from changed_files import mended, with_bytes, with_count
from hypothesis import given
from hypothesis import strategies as st
from voxel_scenes import BOX, STEPS, even, pyramid, scene

from scenerep.coding import decode_file, summarise
from scenerep.coding.voxels import VoxelSteps, encode_mip_voxels, encode_voxels
from scenerep.errors import FormatError
from scenerep.scenes import MipVoxels, Voxels


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_there_and_back(n: int, degree: int) -> None:
    before = scene(n, degree)
    data = encode_voxels(before, STEPS, even(n), 0.0, {"licence": "CC0"})
    decoded = decode_file(data)
    after = decoded.scene
    assert isinstance(after, Voxels)
    np.testing.assert_array_equal(after.index, before.index)
    np.testing.assert_allclose(after.values, before.values, atol=0.15)
    np.testing.assert_array_equal(after.box, before.box)
    assert (after.size, after.contracted, after.step) == (before.size, True, 0.5)
    assert after.metadata == {"licence": "CC0"}
    assert decode_file(data).digest == decoded.digest
    assert summarise(data).kind == "voxels"
    assert summarise(data).count == n


def test_a_pyramid_there_and_back() -> None:
    before = pyramid()
    data = encode_mip_voxels(before, STEPS, tuple(even(60) for _ in range(3)), 0.0)
    after = decode_file(data).scene
    assert isinstance(after, MipVoxels)
    for a, b in zip(before.indices + before.values, after.indices + after.values, strict=True):
        np.testing.assert_allclose(a, b, atol=0.15)
    for name, weights in before.network.items():
        np.testing.assert_allclose(after.network[name], weights, atol=2**-11)


def test_cells_of_more_than_65536_vertices() -> None:
    n = 70_000
    index = np.arange(n)
    before = Voxels((50, 50, 50), index, np.zeros((n, 4), np.float32), BOX)
    after = decode_file(encode_voxels(before, STEPS, even(n), 1.0)).scene
    assert isinstance(after, Voxels)
    np.testing.assert_array_equal(after.index, index)


def test_smooth_fields_are_small() -> None:
    """13 floats a vertex are 52 bytes."""
    n = 20
    z, y, x = np.meshgrid(*[np.linspace(0, 1, n)] * 3, indexing="ij")
    values = np.stack([np.sin(3 * x + k) + y * z for k in range(13)], axis=-1).reshape(-1, 13)
    smooth = Voxels((n, n, n), np.arange(n**3), values, BOX)
    data = encode_voxels(smooth, VoxelSteps(0.1, 0.1, 0.1), even(n**3), 1e-3)
    assert len(data) < 4 * n**3


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\x01\x00", "vertices a side"),
        (0, b"\xff\xff", "vertices a side"),
        (6, b"\x02", "step of"),
        (7, b"\x05", "degree"),
        (8, b"\x00\x00\xc0\x7f", "step of"),
        (12, b"\xff" * 8, "corners"),
        (60, b"\x00" * 4, "positive steps"),
    ],
)
def test_a_grid_that_cannot_be(at: int, value: bytes, message: str) -> None:
    data = encode_voxels(scene(50), STEPS, even(50), 0.0)
    with pytest.raises(FormatError, match=message):
        decode_file(with_bytes(data, at, value))


@given(st.integers(0, 2**32 - 1))
def test_broken_files_say_so(seed: int) -> None:
    """Bits flipped inside a chunk, checksums made good: a scene, or a FormatError."""
    rng = np.random.default_rng(seed)
    data = _DATA
    changed = bytearray(data)
    for at in rng.integers(0, len(data), 3):
        changed[at] ^= 1 << int(rng.integers(8))
    for candidate in (bytes(changed), mended(changed, data), data[: int(rng.integers(len(data)))]):
        try:
            decode_file(candidate)
        except FormatError:
            continue


_DATA = encode_voxels(scene(200), STEPS, even(200), 0.0)


def test_counts_that_lie() -> None:
    small = scene(50)
    data = encode_voxels(small, STEPS, even(50), 0.0)
    with pytest.raises(FormatError, match=r"cell of|49 voxels"):
        decode_file(with_count(data, 49))
