"""Quantised scenes for the tests of the coder."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from scenerep.coding import LayerGain, QuantisedSplats, Quantiser, encode
from scenerep.coding.container import read_head, stream_count


def quantised_scene(n: int, degree: int = 2, layers: int = 3, seed: int = 0, depth: int = 10) -> QuantisedSplats:
    """A surface of Gaussians with smooth and noisy attributes, a fifth of them with SH."""
    rng = np.random.default_rng(seed)
    u = rng.integers(0, 1 << depth, (n, 2))
    height = (u.sum(axis=1) // 4 + rng.integers(0, 3, n)) % (1 << depth)
    k = (degree + 1) ** 2 - 1
    sh = np.round(rng.laplace(0, 2, (n, k, 3))).astype(int) * (rng.random(n) < 0.2)[:, None, None]
    return QuantisedSplats(
        positions=np.column_stack([u, height]),
        log_scales=np.sort(rng.integers(-60, -20, (n, 3)), axis=1)[:, ::-1],
        rotations=rng.integers(-20, 20, (n, 3)),
        opacities=rng.integers(0, 65, n),
        colours=np.column_stack([u[:, 0] >> 5, rng.integers(-3, 3, (n, 2))]),
        sh=sh,
        quantiser=Quantiser((0, 0, 0), 0.01, depth, sh_luma=(0.1,) * degree, sh_chroma=(0.2,) * degree),
        layers=rng.integers(0, layers, n),
        layer_count=layers,
        gains=tuple(LayerGain(0.125 * i, 1.0) for i in range(layers)),
        metadata={"licence": "CC0"},
    )


def overfull_cell() -> bytes:
    """A file whose two chunks are both possible, but of one cell, which then has more than 65,536 Gaussians."""
    data = bytearray(encode(quantised_scene(6000, 3, 2)))
    (length,) = struct.unpack_from("<I", data, 12)
    head = read_head(bytes(data))
    entry = 40 + 8 * stream_count(head.quantiser.sh_degree)
    for i in range(len(head.chunks)):
        struct.pack_into("<I", data, length - 4 - entry * (len(head.chunks) - i), 40_000)
    struct.pack_into("<I", data, 20, 80_000)
    struct.pack_into("<I", data, length - 4, zlib.crc32(data[: length - 4]))
    return bytes(data)
