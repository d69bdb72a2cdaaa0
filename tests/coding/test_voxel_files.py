from __future__ import annotations

import numpy as np
import pytest
from changed_files import mended, with_bytes, with_count
from hypothesis import given
from hypothesis import strategies as st

from scenerep.coding import decode_file, summarise
from scenerep.coding.voxels import Importance, VoxelSteps, encode_mip_voxels, encode_voxels
from scenerep.errors import FormatError
from scenerep.scenes import MipVoxels, Voxels
from scenerep.voxels.shading import start

BOX = np.array([[-1.0, 0, 2], [1, 3, 5]])
STEPS = VoxelSteps(0.05, 0.05, 0.05)


def _even(n: int) -> Importance:
    return Importance(np.ones(n), np.ones(n), np.ones(n))


def scene(n: int = 300, degree: int = 1, seed: int = 0) -> Voxels:
    rng = np.random.default_rng(seed)
    index = np.sort(rng.choice(20 * 17 * 30, n, replace=False))
    return Voxels((20, 17, 30), index, rng.normal(0, 2, (n, 4 if degree == 0 else 13)), BOX, True, 0.5)


def pyramid(seed: int = 0) -> MipVoxels:
    rng = np.random.default_rng(seed)
    sizes = [(17, 9, 33), (9, 5, 17), (5, 3, 9)]
    indices = tuple(np.sort(rng.choice(int(np.prod(s)), 60, replace=False)) for s in sizes)
    values = tuple(rng.normal(0, 2, (60, 8)).astype(np.float32) for _ in sizes)
    return MipVoxels(sizes[0], indices, values, start(rng), BOX)


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_there_and_back(n: int, degree: int) -> None:
    before = scene(n, degree)
    data = encode_voxels(before, STEPS, _even(n), 0.0, {"licence": "CC0"})
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
    data = encode_mip_voxels(before, STEPS, tuple(_even(60) for _ in range(3)), 0.0)
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
    after = decode_file(encode_voxels(before, STEPS, _even(n), 1.0)).scene
    assert isinstance(after, Voxels)
    np.testing.assert_array_equal(after.index, index)


def test_smooth_fields_are_small() -> None:
    """13 floats a vertex are 52 bytes."""
    n = 20
    z, y, x = np.meshgrid(*[np.linspace(0, 1, n)] * 3, indexing="ij")
    values = np.stack([np.sin(3 * x + k) + y * z for k in range(13)], axis=-1).reshape(-1, 13)
    smooth = Voxels((n, n, n), np.arange(n**3), values, BOX)
    data = encode_voxels(smooth, VoxelSteps(0.1, 0.1, 0.1), _even(n**3), 1e-3)
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
    data = encode_voxels(scene(50), STEPS, _even(50), 0.0)
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


_DATA = encode_voxels(scene(200), STEPS, _even(200), 0.0)


def test_counts_that_lie() -> None:
    small = scene(50)
    data = encode_voxels(small, STEPS, _even(50), 0.0)
    with pytest.raises(FormatError, match=r"cell of|49 voxels"):
        decode_file(with_count(data, 49))
