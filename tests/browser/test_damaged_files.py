"""Damaged files in the browser's decoders: a readable error or the scene that Python reads, soon, in little memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import Site
from quantised_scenes import overfull_cell, quantised_scene
from scene_cases import plain_scene
from test_anchored import anchored
from test_codebook_splats import part

from scenerep.coding import decode_file, encode
from scenerep.coding.anchored import encode_anchored
from scenerep.coding.codebook_splats import encode_parts
from scenerep.coding.container import STREAMS, read_head, stream_count
from scenerep.errors import FormatError
from scenerep.formats import FORMATS
from scenerep.io import spz
from scenerep.io.scene_files import detect

PATIENCE_MS = 30_000
ALLOWED = 64 << 20
"""Bytes of one allocation: what a packed file may unpack to without being asked how large it is."""

SPLATS = encode(quantised_scene(120, 2, 3))
CODEBOOKS = encode_parts([part(60, ("scale", "rotation", "dc", "sh1"), 1), part(40, ("colour2",), 2)], 2, {})
ANCHORS = encode_anchored(anchored(40))


def flipped(data: bytes, rng: np.random.Generator, low: int = 0, high: int | None = None) -> bytearray:
    """One to four bytes of [low, high) changed; often to what breaks a count."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(low, high or len(data)))
        out[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, out[at] ^ 1 << int(rng.integers(8)), int(rng.integers(256))]))
    return out


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Flips, half of them in the first 200 bytes, or a cut."""
    choice = rng.integers(0, 5)
    if choice == 0:
        return cut(data, rng)
    return bytes(flipped(data, rng, 0, min(200, len(data)) if choice < 3 else len(data)))


def seal(data: bytearray, length: int) -> bytes:
    struct.pack_into("<I", data, length - 4, zlib.crc32(data[: length - 4]))
    return bytes(data)


def head_resealed(data: bytes, rng: np.random.Generator) -> bytes:
    """Nonsense in the head, which a checksum confirms. The kinds' numbers are left alone."""
    (length,) = struct.unpack_from("<I", data, 12)
    out = flipped(data, rng, 12, length - 4)
    out[12:16] = data[12:16]
    return seal(out, length)


def streams_resealed(data: bytes, rng: np.random.Generator) -> bytes:
    """Nonsense in the streams of kind 1, likewise."""
    head = read_head(data)
    (length,) = struct.unpack_from("<I", data, 12)
    out = flipped(data, rng, length)
    entry = 40 + 8 * stream_count(head.quantiser.sh_degree)
    table = length - 4 - entry * len(head.chunks)
    for i, chunk in enumerate(head.chunks):
        for j, size in enumerate(chunk.lengths):
            at = chunk.place(j)
            struct.pack_into("<I", out, table + entry * i + 44 + 8 * j, zlib.crc32(out[at : at + size]))
    return seal(out, length)


def chunks_resealed(data: bytes, rng: np.random.Generator) -> bytes:
    """Nonsense in the chunks of the other kinds, likewise."""
    (length,) = struct.unpack_from("<I", data, 12)
    out = flipped(data, rng, length)
    (count,) = struct.unpack_from("<I", data, 24)
    for at in range(length - 4 - 32 * count, length - 4, 32):
        offset, size = struct.unpack_from("<QI", data, at + 16)
        struct.pack_into("<I", out, at + 28, zlib.crc32(out[offset : offset + size]))
    return seal(out, length)


Damage = Callable[[bytes, np.random.Generator], bytes]
CASES: dict[str, tuple[bytes, Damage, int]] = {
    "splats": (SPLATS, damaged, 100),
    "splats, head": (SPLATS, head_resealed, 150),
    "splats, streams": (SPLATS, streams_resealed, 200),
    "splats, a cell": (overfull_cell(), lambda data, rng: data, 1),
    "codebooks, head": (CODEBOOKS, head_resealed, 50),
    "codebooks, chunks": (CODEBOOKS, chunks_resealed, 100),
    "anchors, head": (ANCHORS, head_resealed, 50),
    "anchors, chunks": (ANCHORS, chunks_resealed, 100),
}
OTHERS = ("ply", "compressed.ply", "splat", "sog", "spz")
CASES |= {name: (FORMATS[name].load_writer().write(plain_scene(9, 1)), damaged, 50) for name in OTHERS}
CASES |= {"spz 3": (spz.write(plain_scene(9, 1), spz.SpzOptions(version=3)), damaged, 50)}


def python_reads(data: bytes) -> tuple[int, str | None] | FormatError:
    """Number of splats and, for `.srz`, their digest; or why not."""
    try:
        name = detect(data, "x")
        if name == "srz":
            decoded = decode_file(data, file="x")
            return len(decoded.scene), decoded.digest
        return len(FORMATS[name].load_reader().read(data, "x")), None
    except FormatError as error:
        return error


def test_a_thousand_are_made() -> None:
    assert sum(times for _, _, times in CASES.values()) >= 1000


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy on absurd numbers
def test_damage_is_told(page: Any, site: Site, case: str) -> None:
    data, damage, times = CASES[case]
    rng = np.random.default_rng(len(case))
    files = [damage(data, rng) for _ in range(times)]
    (site.files / "damaged.bin").write_bytes(b"".join(files))
    results = page.evaluate(
        """async ([url, sizes, patience]) => {
          const tests = await import(`${url}/tests/decoding.js`);
          return tests.outcomes(await tests.fetched(`${url}/files/damaged.bin`), "x", sizes, patience);
        }""",
        [site.url, [len(file) for file in files], PATIENCE_MS],
    )
    assert len(results) == times
    wrong = [f"{i}: {problem}" for i, file in enumerate(files) if (problem := problem_of(file, results[i]))]
    assert not wrong, wrong[:10]
    assert any("error" in result for result in results)


def problem_of(file: bytes, result: dict[str, Any]) -> str | None:
    """What is wrong with an outcome, or None."""
    if "hang" in result:
        return "no answer"
    if result["largest"] > ALLOWED + 100 * len(file):
        return f"an allocation of {result['largest']} bytes"
    expected = python_reads(file)
    if "error" not in result:
        if isinstance(expected, FormatError):
            return f"read although Python says {expected}"
        found = (result["count"], result["digest"])
        if found != expected or not result["finite"]:
            return f"{found} instead of {expected}, finite: {result['finite']}"
        return None
    error = result["error"]
    if (
        error["name"] != "FormatError"
        or not error["expected"]
        or not error["found"]
        or not error["file"].startswith("x")
    ):
        return f"not a readable error: {error}"
    if not isinstance(expected, FormatError):
        return f"refused although Python reads it: {error['message']}"
    streams = [name for name in STREAMS if f"sound {name} stream" in str(expected)]
    if streams and (f"{streams[0]} stream" not in error["message"] or error["offset"] != expected.offset):
        return f"{error['message']} instead of {expected}"
    return None
