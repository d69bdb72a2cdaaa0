"""3DGS PLY: round trips, every layout that is allowed, and broken bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenerep.errors import DataError, FormatError
from scenerep.io import ply, read_scene, write_scene
from scenerep.scenes import Gaussians

SPLATS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "splats"


def make_scene(n: int, degree: int = 3, seed: int = 0, antialiased: bool = False) -> Gaussians:
    r = np.random.default_rng(seed)
    k = (degree + 1) ** 2
    shapes = ((n, 3), (n, 3), (n, 4), (n,), (n, k, 3))
    return Gaussians(*(r.standard_normal(s) for s in shapes), antialiased=antialiased)


def assert_same(a: Gaussians, b: Gaussians) -> None:
    for name, array in a.arrays().items():
        np.testing.assert_array_equal(array, b.arrays()[name], err_msg=name)
    assert a.antialiased == b.antialiased


def layout(scene: Gaussians) -> dict[str, np.ndarray]:
    """Columns by property name, written down a second time, straight from the format's description."""
    columns = {name: scene.means[:, i] for i, name in enumerate("xyz")}
    columns |= {f"f_dc_{c}": scene.sh[:, 0, c] for c in range(3)}
    higher = scene.sh.shape[1] - 1
    columns |= {f"f_rest_{c * higher + i}": scene.sh[:, 1 + i, c] for c in range(3) for i in range(higher)}
    columns |= {"opacity": scene.opacity_logits}
    columns |= {f"scale_{i}": scene.log_scales[:, i] for i in range(3)}
    return columns | {f"rot_{i}": scene.quats[:, i] for i in range(4)}


def encode(columns: dict[str, np.ndarray], form: str, types: dict[str, str] | None = None) -> bytes:
    """A PLY of the given columns, in their order; `types` overrides float for single columns."""
    codes = {"float": "f4", "double": "f8", "uchar": "u1", "short": "i2"}
    kinds = {name: (types or {}).get(name, "float") for name in columns}
    n = len(next(iter(columns.values())))
    head = ["ply", f"format {form} 1.0", f"element vertex {n}"]
    head += [f"property {kinds[name]} {name}" for name in columns] + ["end_header", ""]
    if form == "ascii":
        rows = zip(*(column.tolist() for column in columns.values()))
        body = "".join(" ".join(repr(v) for v in row) + "\n" for row in rows).encode()
    else:
        order = "<" if "little" in form else ">"
        table = np.zeros(n, np.dtype([(name, order + codes[kind]) for name, kind in kinds.items()]))
        for name, column in columns.items():
            table[name] = column
        body = table.tobytes()
    return "\n".join(head).encode() + body


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 40), degree=st.integers(0, 3), seed=st.integers(0, 99), aa=st.booleans(), full=st.booleans())
def test_round_trip_is_exact(n: int, degree: int, seed: int, aa: bool, full: bool) -> None:
    scene = make_scene(n, degree, seed, aa)
    assert_same(ply.read(ply.write(scene, ply.PlyOptions(all_bands=full))), scene)


def test_blocks_join_without_a_seam() -> None:
    scene = make_scene(2 * ply._BLOCK + 3, degree=1)
    assert_same(ply.read(ply.write(scene)), scene)


def test_written_layout_is_the_standard_one() -> None:
    scene = make_scene(5)
    data = ply.write(scene)
    header, _, body = data.partition(b"end_header\n")
    lines = header.decode().splitlines()
    assert lines[:4] == ["ply", "format binary_little_endian 1.0", "element vertex 5", "property float x"]
    names = [line.split()[2] for line in lines if line.startswith("property")]
    assert len(names) == 62
    assert names[3:6] == ["nx", "ny", "nz"]
    table = np.frombuffer(body, "<f4").reshape(5, 62)
    for name, column in layout(scene).items():
        np.testing.assert_array_equal(table[:, names.index(name)], column, err_msg=name)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_reads_every_encoding_in_any_order_with_extras(form: str, degree: int) -> None:
    scene = make_scene(7, degree)
    columns = layout(scene)
    columns["red"] = np.arange(7, dtype=np.float32)
    columns["label"] = np.arange(7, dtype=np.float32)
    shuffled = {name: columns[name] for name in np.random.default_rng(degree).permutation(list(columns))}
    got = ply.read(encode(shuffled, form, {"red": "uchar", "label": "short", "x": "double", "opacity": "double"}))
    assert_same(got, scene)
    assert set(got.metadata["ignored_properties"]) == {"red", "label"}


def test_elements_around_the_vertices_are_skipped() -> None:
    scene = make_scene(4, 0)
    data = encode(layout(scene), "binary_little_endian")
    head, _, body = data.partition(b"element vertex")
    before = head + b"element thing 2\nproperty short a\nproperty uchar b\nelement vertex"
    rest, _, rows = body.partition(b"end_header\n")
    after = b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    faces = b"\x03" + np.arange(3, dtype="<i4").tobytes()
    assert_same(ply.read(before + rest + after + bytes(6) + rows + faces), scene)


def test_repairs_what_files_in_the_wild_contain() -> None:
    scene = make_scene(6, 0)
    columns = {name: column.copy() for name, column in layout(scene).items()}
    columns["opacity"][0] = np.inf
    columns["scale_1"][1] = -np.inf
    columns["x"][2] = np.nan
    for i in range(4):
        columns[f"rot_{i}"][3] = 0
    got = ply.read(encode(columns, "binary_little_endian"))
    assert len(got) == 4
    assert got.metadata == {"repaired_values": 2, "dropped_gaussians": 2}
    assert got.opacity_logits[0] == 30
    assert got.log_scales[1, 1] == -30
    np.testing.assert_array_equal(got.means, scene.means[[0, 1, 4, 5]])


HEADERS = {
    "count too large": (b"vertex 3", b"vertex 4", "4 rows of 68 bytes"),
    "count enormous": (b"vertex 3", b"vertex 999999999999999999", "rows of"),
    "count with more digits": (b"vertex 3", b"vertex 99999999999999999999999", "<count>"),
    "negative count": (b"vertex 3", b"vertex -3", "<count>"),
    "no format": (b"format binary_little_endian 1.0\n", b"", "format line"),
    "other format": (b"little", b"middle", "format of"),
    "missing property": (b"property float opacity\n", b"", "opacity"),
    "list in vertex": (b"property float opacity", b"property list uchar float opacity", "list property"),
    "unknown type": (b"float opacity", b"half opacity", "property <type>"),
    "property twice": (b"float opacity", b"float x", "once"),
    "no vertices": (b"element vertex", b"element point", "'vertex'"),
    "compressed": (b"element vertex", b"element chunk", "compressed PLY"),
    "no end": (b"end_header\n", b"", "header"),
    "property first": (b"element vertex 3\n", b"", "element before"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_refuses_broken_headers(case: str) -> None:
    old, new, message = HEADERS[case]
    data = ply.write(make_scene(3, 0), ply.PlyOptions(all_bands=False))
    assert old in data
    with pytest.raises(FormatError, match=message) as caught:
        ply.read(data.replace(old, new, 1), "scene.ply")
    assert caught.value.file == "scene.ply"
    assert caught.value.offset is not None


@pytest.mark.parametrize("rest", [3, 10, 44, 72])
def test_refuses_odd_numbers_of_coefficients(rest: int) -> None:
    columns = layout(make_scene(2, 0)) | {f"f_rest_{i}": np.zeros(2) for i in range(rest)}
    with pytest.raises(FormatError, match=f"{rest} f_rest properties"):
        ply.read(encode(columns, "binary_little_endian"))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_only_format_errors_escape_from_damaged_files(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["ascii", "binary_little_endian", "binary_big_endian"]))
    broken = bytearray(encode(layout(make_scene(3, 0)), form))
    for _ in range(data.draw(st.integers(0, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(broken)))
    try:
        scene = ply.read(bytes(broken[:cut]))
    except FormatError:
        pass
    else:
        assert len(scene) <= 3
        assert all(np.isfinite(array).all() for array in scene.arrays().values())


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_only_format_errors_escape_from_noise(noise: bytes) -> None:
    for data in (noise, b"ply\n" + noise, b"ply\nformat ascii 1.0\nelement vertex 1\nend_header\n" + noise):
        with pytest.raises(FormatError):
            ply.read(data)


@pytest.mark.parametrize(("name", "count"), [
    ("pc_short.ply", 100), ("tiny/splatapult_test.ply", 16), ("tiny/test-splat.3-points-from-train.ply", 3),
])  # fmt: skip
def test_reads_files_of_other_tools(name: str, count: int) -> None:
    if not SPLATS.is_dir():
        pytest.skip(f"{SPLATS} is not there")
    scene = read_scene(SPLATS / name)
    assert (len(scene), scene.sh_degree) == (count, 3)
    # The first was cut from a larger file, in the header only.
    assert scene.metadata == {"format": "ply"} | ({"trailing_bytes": 14029} if name == "pc_short.ply" else {})
    # They hold the standard properties in the standard order, so our bytes have to equal theirs but for the header.
    theirs = (SPLATS / name).read_bytes().partition(b"end_header\n")[2]
    table = np.frombuffer(theirs, "<f4", count * 62).reshape(count, 62).copy()
    table[:, 3:6] = 0  # normals carry no meaning and are written as zero
    assert ply.write(scene).partition(b"end_header\n")[2] == table.tobytes()


def test_files_are_found_by_content_and_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(9, 2)
    write_scene(scene, tmp_path / "new" / "a.ply")
    (tmp_path / "new" / "a.ply").rename(tmp_path / "no_ending")
    assert_same(read_scene(tmp_path / "no_ending"), scene)
    with pytest.raises(DataError, match=r"\.stl.*"):
        write_scene(scene, tmp_path / "a.stl")
    with pytest.raises(DataError, match="cannot be read"):
        read_scene(tmp_path / "absent.ply")
    write_scene(scene, tmp_path / "no_ending.ply")
    with pytest.raises(DataError, match="exists already"):
        write_scene(scene, tmp_path / "no_ending.ply", overwrite=False)

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(DataError, match="No space left"):
        write_scene(replace(scene, antialiased=True), tmp_path / "no_ending.ply")
    assert_same(read_scene(tmp_path / "no_ending.ply"), scene)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "no_ending", "no_ending.ply"]


def test_the_example_of_the_documentation() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "formats" / "ply.md").read_text()
    header, dump = (part.strip("\n") for part in text.split("```")[-4:-1:2])
    lines = [line[9:57] for line in dump.splitlines()]
    data = (header + "\n").encode() + bytes.fromhex(" ".join(lines))
    scene = Gaussians(
        np.array([[0.5, -1, 2]]),
        np.array([[-3, -3, -4]]),
        np.array([[1, 0, 0, 0]]),
        np.array([2.0]),
        np.array([[[1, 0.5, -1]]]),
    )
    assert ply.write(scene, ply.PlyOptions(all_bands=False)) == data
    assert_same(ply.read(data), scene)
