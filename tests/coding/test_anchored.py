"""Anchored scenes: integers come back, both coders write the same bytes, broken files are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenerep.coding import decode_file, summarise
from scenerep.coding.anchored import AnchoredSplats, Grid, Layout, bake, decode_anchored, encode_anchored
from scenerep.coding.anchored.entropy import integer_network, predict
from scenerep.coding.anchored.file import digest, sort_anchors
from scenerep.coding.chunked import read_chunked, write_chunked
from scenerep.coding.conditional import ConditionalError, decode_conditional, encode_conditional
from scenerep.coding.reference.conditional import code_table
from scenerep.coding.reference.range_coder import RangeDecoder, RangeEncoder
from scenerep.errors import ConfigError, FormatError, SceneRepError

LAYOUT = Layout(coupled=3, reference=4, residual=2, reference_hyper=2, width=5, entropy_width=6, sh_degree=1)


def anchored(n: int, layout: Layout = LAYOUT, seed: int = 0) -> AnchoredSplats:
    rng = np.random.default_rng(seed)

    def integers(*shape: int) -> np.ndarray:
        return rng.normal(0, 2, shape).round().astype(np.int32)

    return AnchoredSplats(
        layout,
        Grid((1.0, 2.0, 3.0), 0.125, 6),
        np.array([0.25, 0.5]),
        np.linspace(0.1, 0.2, 6),
        rng.integers(0, 64, (n, 3)),
        integers(n, layout.reference),
        integers(n, 6),
        integers(n, layout.coupled, layout.residual),
        integers(n, layout.reference_hyper),
        integers(n, layout.coupled * layout.residual_hyper),
        {name: 30 * integers(*shape) for name, shape in layout.weight_shapes().items()},
        metadata={"licence": "CC0"},
    )


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 12), st.integers(1, 5))
def test_tables_come_back_from_both_coders(data: st.DataObject, width: int, count: int, fine: int) -> None:
    integer = st.one_of(st.integers(-20, 20), st.integers(-(1 << 24) + 1, (1 << 24) - 1))
    rows = data.draw(st.lists(st.lists(integer, min_size=width, max_size=width), max_size=15))
    row = st.lists(st.integers(0, count - 1), min_size=width, max_size=width)
    classes = data.draw(st.lists(row, min_size=len(rows), max_size=len(rows)))
    table, given_classes = (np.array(a, np.int32).reshape(-1, width) for a in (rows, classes))
    stream = encode_conditional(table, given_classes, count, fine)
    coder = RangeEncoder()
    code_table(coder, rows, classes, fine)
    assert coder.finish() == stream
    np.testing.assert_array_equal(decode_conditional(stream, given_classes, count, fine), table)
    again = [[0] * width for _ in rows]
    code_table(RangeDecoder(stream), again, classes, fine)
    assert again == table.tolist()


def test_a_known_width_saves_bits() -> None:
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 2, (4000, 2)).astype(np.int32)
    values = np.where(wide, rng.normal(0, 20, wide.shape), rng.normal(0, 0.4, wide.shape)).round().astype(np.int32)
    assert len(encode_conditional(values, wide, 2)) < 0.9 * len(encode_conditional(values, 0 * wide, 1))


def test_a_table_that_ends_early() -> None:
    values = np.random.default_rng(0).integers(-500, 500, (100, 3)).astype(np.int32)
    zeros = np.zeros_like(values)
    with pytest.raises(ConditionalError, match="too early"):
        decode_conditional(encode_conditional(values, zeros, 1)[:50], zeros, 1)


@pytest.mark.parametrize("n", [0, 1, 2, 77])
def test_integers_come_back(n: int) -> None:
    scene = anchored(n)
    data = encode_anchored(scene)
    found = decode_anchored(read_chunked(data))
    assert digest(found) == digest(sort_anchors(scene))
    assert (found.layout, found.grid) == (scene.layout, scene.grid)
    np.testing.assert_array_equal(found.scale_steps, scene.scale_steps)
    decoded = decode_file(data)
    assert decoded.digest == digest(found)
    assert decoded.scene.metadata["licence"] == "CC0"
    for name, array in bake(found).arrays().items():
        np.testing.assert_array_equal(getattr(decoded.scene, name), array)
        assert np.isfinite(array).all()
    assert (summarise(data).kind, summarise(data).count) == ("anchors", 3 * n)


def test_distributions_are_whole_numbers() -> None:
    """Sums in another order give the same: what is predicted does not depend on the machine."""
    scene = anchored(50)
    out = integer_network(scene.weights, "scales", scene.reference)
    turned = {name: w.copy() for name, w in scene.weights.items()}
    turned["scales.hidden"] = turned["scales.hidden"][::-1]
    np.testing.assert_array_equal(out, integer_network(turned, "scales", scene.reference[:, ::-1]))
    np.testing.assert_array_equal(out, np.round(out))
    p = predict(scene.weights, "scales", scene.reference)
    assert (p.classes >= 0).all()
    assert (p.classes < p.count).all()


def test_mutated_files_are_refused() -> None:
    data = encode_anchored(anchored(40))
    rng = np.random.default_rng(0)
    for i in range(300):
        broken = bytearray(data)
        broken[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        with pytest.raises(FormatError):
            decode_file(bytes(broken if i % 2 else broken[: int(rng.integers(len(data)))]))


def test_mutated_chunks_with_right_checksums() -> None:
    """Behind the checksums: an error, or a scene of the announced size with finite values."""
    content = read_chunked(encode_anchored(anchored(40)))
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        name = str(rng.choice(list(content.chunks)))
        broken = bytearray(content.chunks[name])
        if broken and rng.integers(2):
            broken[int(rng.integers(len(broken)))] ^= 1 << int(rng.integers(8))
        else:
            broken = broken[: int(rng.integers(len(broken) + 1))]
        data = write_chunked(replace(content, chunks=content.chunks | {name: bytes(broken)}))
        try:
            scene = decode_file(data).scene
        except FormatError:
            refused += 1
            continue
        assert len(scene) == content.count
        assert all(np.isfinite(a).all() for a in scene.arrays().values())
    assert refused > 20


def test_counts_that_do_not_fit() -> None:
    content = read_chunked(encode_anchored(anchored(40)))
    head = bytearray(content.chunks["anchors"])
    head[:4] = (1 << 28).to_bytes(4, "little")
    many = replace(content, count=3 << 28, chunks=content.chunks | {"anchors": bytes(head)})
    with pytest.raises(FormatError, match="primitives"):
        decode_file(write_chunked(many))


def test_what_a_scene_refuses() -> None:
    scene = anchored(5)
    with pytest.raises(ConfigError, match="coupled"):
        Layout(coupled=0)
    with pytest.raises(SceneRepError, match="reference"):
        replace(scene, reference=scene.reference[:, :1])
    with pytest.raises(SceneRepError, match="beyond"):
        replace(scene, weights={name: w + (1 << 15) for name, w in scene.weights.items()})
