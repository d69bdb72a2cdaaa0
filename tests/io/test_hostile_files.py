"""Damaged and hostile files of every format: nothing but FormatError comes out, and counts are not believed."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_cases import plain_scene, written

from scenerep.errors import FormatError
from scenerep.formats import FORMATS
from scenerep.io import detect, glb, ksplat, sog, sog_writer, spz
from scenerep.io.spz import SpzOptions

SAMPLES = {name: written(name, plain_scene(9, 1)) for name in FORMATS}
SAMPLES |= {"spz 3": spz.write(plain_scene(9, 1), SpzOptions(version=3))}


def _read(data: bytes) -> None:
    """Read as `read_scene` does; whatever is read is a sound scene."""
    try:
        name = detect(data, "x")
        scene = FORMATS[name].load_reader().read(data, "x")
    except FormatError as error:
        assert error.file.startswith("x")
        assert error.expected and error.found
    else:
        assert all(np.isfinite(array).all() for array in scene.arrays().values())


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_only_format_errors_escape(name: str, data: st.DataObject) -> None:
    broken = bytearray(SAMPLES[name])
    # Heads hold the counts: half of the damage goes there.
    ends = st.one_of(st.integers(0, min(200, len(broken) - 1)), st.integers(0, len(broken) - 1))
    for _ in range(data.draw(st.integers(0, 5))):
        broken[data.draw(ends)] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0x30, 0x39]))
    cut = data.draw(st.one_of(st.just(len(broken)), st.integers(0, len(broken))))
    changed = bytes(broken[:cut])
    _read(changed)
    format = name.split()[0]
    with contextlib.suppress(FormatError):  # also by its own reader, whatever detection thinks of it
        FORMATS[format].load_reader().read(changed, "x")


@pytest.mark.parametrize("name", SAMPLES)
def test_cut_files_are_refused(name: str) -> None:
    data = SAMPLES[name]
    for size in (0, 1, 7, 20, len(data) // 2, len(data) - 1):
        with pytest.raises(FormatError):
            FORMATS[name.split()[0]].load_reader().read(data[:size], "x")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", b"NGSP", b"\x1f\x8b", b"glTF", b"PK\x03\x04", b"{", b"\x00\x01"]))
def test_noise(noise: bytes, mark: bytes) -> None:
    _read(mark + noise)


def _peak(action) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [10**6, 2**31, 2**32 - 1])
def test_counts_are_not_believed(count: int) -> None:
    number = struct.pack("<I", count)
    for data in (
        SAMPLES["spz"][:8] + number + SAMPLES["spz"][12:],
        b"NGSP" + struct.pack("<II4B", 3, count, 3, 12, 0, 0) + bytes(100),
    ):
        assert _peak(lambda data=data: spz.read(data)) < 80 << 20
    changed = bytearray(SAMPLES["ksplat"])
    changed[16:20] = number
    changed[4096:4104] = number * 2
    assert _peak(lambda: ksplat.read(bytes(changed))) < 1 << 20
    parts = sog_writer.write_parts(plain_scene(9, 0))
    meta = json.loads(parts["meta.json"])
    meta["count"] = count
    parts["meta.json"] = json.dumps(meta).encode()
    assert _peak(lambda: sog.read_parts(parts.get, 5000, "x")) < 1 << 20
    document = glb.write(plain_scene(9, 0)).replace(b'"count": 9', b'"count": %d' % count)
    assert _peak(lambda: glb.read(document)) < 1 << 20


def test_bombs_are_bounded() -> None:
    import gzip

    import zstandard

    from scenerep.io.webp import write_webp

    # 300 million Gaussians of constant values in 1.4 MB of zstd or gzip
    head = struct.pack("<4sIIBBBBI12x", b"NGSP", 4, 3 * 10**8, 0, 12, 0, 5, 32)
    frame = zstandard.compress(bytes(1 << 20))
    table = b"".join(struct.pack("<QQ", len(frame), size * 3 * 10**8) for size in (9, 1, 3, 3, 4))
    assert _peak(lambda: spz.read(head + table + frame * 5)) < 4 << 20
    packed = gzip.compress(struct.pack("<4sIIBBBB", b"NGSP", 3, 3 * 10**8, 0, 12, 0, 0) + bytes(1 << 20))
    assert _peak(lambda: spz.read(packed)) < 4 << 20
    # a frame that holds more than the table says
    small = struct.pack("<4sIIBBBBI12x", b"NGSP", 4, 1, 0, 12, 0, 5, 32)
    table = b"".join(struct.pack("<QQ", len(frame), size) for size in (9, 1, 3, 3, 4))
    assert _peak(lambda: spz.read(small + table + frame * 5)) < 16 << 20
    # a picture of 100 million pixels in a few hundred bytes
    parts = sog_writer.write_parts(plain_scene(9, 0))
    parts["means_l.webp"] = bytearray(write_webp(np.zeros((4, 4, 4), np.uint8)))
    parts["means_l.webp"][21:25] = struct.pack("<I", 16383 | 16383 << 14)
    parts["means_l.webp"] = bytes(parts["means_l.webp"])
    assert _peak(lambda: sog.read_parts(parts.get, 5000, "x")) < 4 << 20
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", b"{" + bytes(300 << 20))
    assert _peak(lambda: sog.read(out.getvalue())) < 4 << 20


def test_sog_parts_stay_in_their_folder() -> None:
    parts = sog_writer.write_parts(plain_scene(9, 0))
    for name in ("../secret.webp", "/etc/passwd", "a\\b", ".hidden"):
        meta = json.loads(parts["meta.json"])
        meta["scales"]["files"] = [name]
        changed = parts | {"meta.json": json.dumps(meta).encode()}
        with pytest.raises(FormatError, match=r"beside meta\.json"):
            sog.read_parts(changed.get, 10**6, "x")


def test_checkpoints_run_no_code() -> None:
    import torch

    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    out = io.BytesIO()
    torch.save({"splats": Evil()}, out)
    with pytest.raises(FormatError, match="weights_only"):
        FORMATS["checkpoint"].load_reader().read(out.getvalue(), "x")


def test_glb_refuses_what_it_would_draw_wrongly() -> None:
    good = glb.write(plain_scene(3, 0))
    assert len(glb.read(good)) == 3
    for old, new, message in (
        (b'"ellipse"', b'"circles"', "ellipse"),
        (b'"nodes": [{"mesh": 0}]', b'"nodes": [{"mesh": 7}]', "below 1"),
        (b'"version": "2.0"', b'"version": "1.0"', "version 2"),
    ):
        assert old in good
        with pytest.raises(FormatError, match=message):
            glb.read(good.replace(old, new))
