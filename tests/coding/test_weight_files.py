"""Kind 6 of .srz: coordinate networks."""

from __future__ import annotations

import numpy as np
import pytest
from changed_files import mended, with_bytes, with_count
from hypothesis import given
from hypothesis import strategies as st

from scenerep.coding import decode_file, summarise
from scenerep.coding.weights import encode_field
from scenerep.errors import FormatError, SceneRepError
from scenerep.field_shapes import NETWORKS, NetworkName, shape_within
from scenerep.scenes import PICTURE, RADIANCE, SURFACE, NeuralField

SPACE = np.array([[-1.0, 0, 2], [1, 3, 5]])
BOX = {SURFACE: SPACE, PICTURE: np.array([[0.0, 0], [64, 48]]), RADIANCE: SPACE}
ENDS = {SURFACE: (3, 1), PICTURE: (2, 3), RADIANCE: (3, 13)}


def network(name: NetworkName = "siren", subject: str = SURFACE, weights: int = 2000, seed: int = 0) -> NeuralField:
    rng = np.random.default_rng(seed)
    shape = shape_within(name, *ENDS[subject], weights, finest=32)
    values = {key: rng.laplace(0, 0.1, size).astype(np.float32) for key, size in shape.arrays().items()}
    march = (20, 30, 9) if subject == RADIANCE else None
    return NeuralField(shape, values, subject, BOX[subject], march=march, contracted=march is not None)


def even_steps(scene: NeuralField, step: float = 0.01) -> dict[str, float]:
    return dict.fromkeys(scene.weights, step)


@pytest.mark.parametrize("subject", [SURFACE, PICTURE, RADIANCE])
@pytest.mark.parametrize("name", NETWORKS)
def test_there_and_back(name: NetworkName, subject: str) -> None:
    before = network(name, subject)
    data = encode_field(before, even_steps(before), {"licence": "CC0"})
    decoded = decode_file(data)
    after = decoded.scene
    assert isinstance(after, NeuralField)
    assert after.shape == before.shape
    assert after.subject == subject
    assert (after.march, after.contracted) == (before.march, before.contracted)
    np.testing.assert_array_equal(after.box, before.box)
    for key, values in before.weights.items():
        np.testing.assert_allclose(after.weights[key], values, atol=0.00501)
    assert after.metadata == {"licence": "CC0"}
    assert decode_file(data).digest == decoded.digest
    assert summarise(data).kind == "field"
    assert summarise(data).count == before.shape.count() == len(after)
    # An entropy of about 5 bits: Laplacian of 0.1 in steps of 0.01.
    assert len(data) < len(after)


def test_weights_that_cannot_be_written() -> None:
    scene = network()
    scene.weights["w0"][0, 0] = np.nan
    with pytest.raises(SceneRepError, match="w0"):
        encode_field(scene, even_steps(scene))
    with pytest.raises(SceneRepError, match="steps"):
        encode_field(network(), even_steps(scene, 2.0**-30))


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\x09", "a network of"),
        (1, b"\x03", "a network of"),
        (1, b"\x02", "inputs"),
        (1, b"\x01", "inputs"),
        (2, b"\x02", "inputs"),
        (4, b"\x00", "layers"),
        (6, b"\x00\x00", "width"),
        (6, b"\xff\xff", "width"),
        (14, b"\x00\x00\xc0\x7f", "omega"),
        (18, b"\xff" * 8, "corners"),
        (18 + 48, b"\x00" * 4, "positive steps"),
        (18 + 48, b"\x00\x00\xc0\x7f", "positive steps"),
        (6, b"\x05\x00", "weights"),
    ],
)
def test_a_head_that_cannot_be(at: int, value: bytes, message: str) -> None:
    scene = network()
    data = encode_field(scene, even_steps(scene))
    with pytest.raises(FormatError, match=message):
        decode_file(with_bytes(data, at, value))


@pytest.mark.parametrize(
    ("at", "value"), [(0, b"\x01\x00"), (2, b"\xff\xff"), (6, b"\x02"), (0, b"\x00\x10\x00\x10\x00\x10")]
)
def test_a_grid_that_cannot_be(at: int, value: bytes) -> None:
    scene = network(subject=RADIANCE)
    with pytest.raises(FormatError, match="vertices a side"):
        decode_file(with_bytes(encode_field(scene, even_steps(scene)), 18 + at, value))


def test_counts_that_lie() -> None:
    scene = network()
    data = encode_field(scene, even_steps(scene))
    with pytest.raises(FormatError, match="77 weights"):
        decode_file(with_count(data, 77))


def test_a_small_file_cannot_ask_for_much_memory() -> None:
    """A width that the weights do not reach: refused by the length of the stream, before anything is allocated."""
    scene = network()
    data = with_bytes(encode_field(scene, even_steps(scene)), 6, b"\x00\x04")
    big = 3 * 1024 + 1024 + 2 * (1024 * 1024 + 1024) + 1024 + 1
    with pytest.raises(FormatError, match="do not fit"):
        decode_file(with_count(data, big))


@given(st.integers(0, 2**32 - 1))
def test_broken_files_say_so(seed: int) -> None:
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


_SCENE = network("hash-grid", PICTURE, 1500)
_DATA = encode_field(_SCENE, even_steps(_SCENE))
