"""Our files in independent readers, and their files in ours: PlayCanvas' splat-transform, GaussForge and gsply.

The readers are test extras: `scripts/test` installs them. A test is skipped, with a message, where one is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scene_cases import covariances, opacities, plain_scene

from scenerep.formats import FORMATS
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import look_at
from scenerep.io import compressed_ply, glb, ply, read_scene, sog, sog_writer, spz, write_scene
from scenerep.io.axes import convert_axes
from scenerep.io.morton import morton_order
from scenerep.io.spz import SpzOptions
from scenerep.metrics.quality import psnr
from scenerep.render import render
from scenerep.scenes import Gaussians

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def splat_transform():
    """A function (input, output) that converts a file with splat-transform."""
    folder = Path(os.environ.get("SCENEREP_NODE", ROOT / ".node"))
    script = folder / "node_modules" / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
    node = shutil.which("node")
    if node is None or not script.is_file():
        pytest.skip("needs node and @playcanvas/splat-transform, which scripts/test installs where npm is")

    def convert(source: Path, target: Path, *options: str) -> Path:
        command = [node, str(script), "-q", "-w", "-g", "cpu", "-i", "1", str(source), str(target), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return target

    return convert


@pytest.fixture(scope="session")
def gaussforge():
    return pytest.importorskip("gaussforge", reason="needs GaussForge: pip install -e '.[test]'").GaussForge()


def scene(degree: int = 3) -> Gaussians:
    """Opacities away from 0 and 1, whose logits readers clip differently; Morton order, which all writers agree on."""
    made = plain_scene(1200, degree, seed=3)
    return made.select(morton_order(made.means))


def assert_same(got: Gaussians, want: Gaussians, tolerance: float = 2e-6, shape: float = 5e-4) -> None:
    """The same Gaussians in the same order, whatever form their rotations have."""
    assert (len(got), got.sh_degree) == (len(want), want.sh_degree)
    np.testing.assert_allclose(got.means, want.means, atol=tolerance)
    np.testing.assert_allclose(opacities(got), opacities(want), atol=1e-5)
    np.testing.assert_allclose(got.sh, want.sh, atol=10 * tolerance)
    size = np.linalg.norm(covariances(want), axis=(1, 2))
    assert (np.linalg.norm(covariances(got) - covariances(want), axis=(1, 2)) / size).max() < shape


WRITTEN = {
    "splat": ("x.splat", None),
    "compressed.ply": ("x.compressed.ply", None),
    "spz 3": ("x.spz", SpzOptions(version=3)),
    "spz 4": ("x.spz", SpzOptions(version=4)),
    "spz 4 in fine steps": ("x.spz", SpzOptions(version=4, fractional_bits=18)),
    "sog": ("x.sog", None),
    "sog folder": ("meta.json", None),
    "ply": ("x.ply", None),
}


@pytest.mark.parametrize("case", WRITTEN)
@pytest.mark.parametrize("degree", [0, 3])
def test_splat_transform_reads_what_we_write(splat_transform, tmp_path: Path, case: str, degree: int) -> None:
    name, options = WRITTEN[case]
    file = tmp_path / name
    write_scene(scene(degree), file, options=options)
    theirs = ply.read(splat_transform(file, tmp_path / "theirs.ply").read_bytes())
    # A byte of a .splat's rotation is q 128 + 128 by its inventor's program; this one reads it as 255ths of -1 to 1.
    assert_same(theirs, _as_deep(read_scene(file), theirs), shape=0.03 if case == "splat" else 5e-4)


@pytest.mark.parametrize("case", ["compressed.ply", "spz 3", "spz 4", "sog", "glb"])
@pytest.mark.parametrize("degree", [0, 2, 3])
def test_we_read_what_splat_transform_writes(splat_transform, tmp_path: Path, case: str, degree: int) -> None:
    want = scene(degree)
    (tmp_path / "x.ply").write_bytes(ply.write(want, ply.PlyOptions(all_bands=False)))
    ending, _, version = case.partition(" ")
    theirs = splat_transform(
        tmp_path / "x.ply", tmp_path / f"y.{ending}", *(["--spz-version", version] if version else [])
    )
    got = read_scene(theirs)
    if ending == "glb":  # which it cannot read itself; nothing is rounded
        assert_same(got, want)
    else:
        assert_same(got, ply.read(splat_transform(theirs, tmp_path / "z.ply").read_bytes()))
        position = {"compressed.ply": 2e-3, "spz": 2.0**-13, "sog": 2e-4}[ending]
        assert np.abs(got.means[_rows(got, want)] - want.means).max() < position + 1e-6


def _rows(a: Gaussians, b: Gaussians) -> np.ndarray:
    from scipy.spatial import KDTree

    return np.asarray(KDTree(a.means).query(b.means)[1])


@pytest.mark.parametrize("format", ["compressed.ply", "spz", "sog", "splat"])
@pytest.mark.parametrize("degree", [0, 3])
def test_gaussforge_reads_what_we_write(gaussforge, format: str, degree: int) -> None:
    data = FORMATS[format].load_writer().write(scene(degree))
    converted = gaussforge.convert(data, format, "ply")
    assert "error" not in converted, converted
    theirs = ply.read(bytes(converted["data"]))
    if format == "spz":  # it leaves the file's own axes as they are; test_spz_axes says who is right
        theirs = convert_axes(theirs, "RUB", "RDF")
    ours = FORMATS[format].load_reader().read(data)
    assert_same(theirs, _as_deep(ours, theirs), 2e-5)


@pytest.mark.parametrize("format", ["compressed.ply", "spz", "sog", "splat", "ksplat"])
def test_we_read_what_gaussforge_writes(gaussforge, format: str) -> None:
    # Its .ksplat holds all coefficients of red, then of green and blue; the format's own program, which we follow as
    # splat-transform does, goes degree by degree. At degree 1 that is the same.
    made = scene(1 if format == "ksplat" else 2)
    written = gaussforge.convert(ply.write(made, ply.PlyOptions(all_bands=False)), "ply", format)
    assert "error" not in written, written
    data = bytes(written["data"])
    theirs = ply.read(bytes(gaussforge.convert(data, format, "ply")["data"]))
    if format == "spz":
        theirs = convert_axes(theirs, "RUB", "RDF")
    ours = FORMATS[format].load_reader().read(data)
    assert_same(theirs, _as_deep(ours, theirs), 2e-5)


def _as_deep(ours: Gaussians, theirs: Gaussians) -> Gaussians:
    """Ours with SH padded or cut to the other's degree, where what differs is zero."""
    from dataclasses import replace

    k = theirs.sh.shape[1]
    assert not ours.sh[:, k:].any() and not theirs.sh[:, ours.sh.shape[1] :].any()
    return replace(ours, sh=np.pad(ours.sh[:, :k], ((0, 0), (0, max(0, k - ours.sh.shape[1])), (0, 0))))


def test_gsply_agrees_about_spz(tmp_path: Path) -> None:
    gsply = pytest.importorskip("gsply", reason="needs gsply: pip install -e '.[test]'")
    for version in (3, 4):
        file = tmp_path / f"v{version}.spz"
        write_scene(scene(0), file, options=SpzOptions(version=version))
        theirs = gsply.read_spz(str(file))
        ours = read_scene(file)
        np.testing.assert_allclose(np.abs(theirs.means), np.abs(ours.means), atol=1e-6)
        np.testing.assert_allclose(theirs.scales, ours.log_scales, atol=1e-5)


def test_spz_axes_are_settled_by_rendering(shared_data: Path) -> None:
    """The same model as compressed PLY and as SPZ, both by other tools, has to look the same from the same side."""
    by_ply = read_scene(shared_data / "splats" / "biker.compressed.ply")
    by_spz = read_scene(shared_data / "splats" / "biker.spz")
    stored = convert_axes(by_spz, "RDF", "RUB")  # what a reader gets who leaves the axes of the file alone
    middle = np.median(by_ply.means, axis=0)
    eye = middle + np.array([1.5, -0.8, -3.0])
    camera = Camera(260.0, 260.0, 80.0, 100.0, 160, 200, look_at(eye, middle, np.array([0.0, -1.0, 0.0])))
    want = np.clip(render(by_ply, camera).rgb, 0, 1)
    assert want.max() > 0.3  # it is in view
    assert psnr(np.clip(render(by_spz, camera).rgb, 0, 1), want) > 45
    assert psnr(np.clip(render(stored, camera).rgb, 0, 1), want) < 25


def test_a_trained_scene_in_three_formats_of_another_tool(shared_data: Path) -> None:
    tiny = shared_data / "splats" / "tiny"
    want = read_scene(tiny / "test-splat.3-points-from-train.ply")
    for ending, position in (("spz", 2.0**-13), ("splat", 0)):
        got = read_scene(tiny / f"test-splat.3-points-from-train.{ending}")
        assert np.abs(got.means - want.means).max() <= position + 1e-6
        assert np.abs(opacities(got) - opacities(want)).max() < 0.004  # that writer rounds down
        assert np.abs(got.sh[:, 0] - want.sh[:, 0]).max() < 0.02
        angles = np.abs(np.einsum("ni,ni->n", _unit(got.quats), _unit(want.quats)))
        assert angles.min() > 0.9999


def _unit(quats: np.ndarray) -> np.ndarray:
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)


def test_every_shared_file_opens(shared_data: Path) -> None:
    counts = {
        "biker.compressed.ply": 152746, "biker.spz": 152746, "fourth_st.spz": 131199, "model.splat": 17725,
        "playbot_sog/3_0": 31000, "playbot_sog/4_0": 8406, "playbot_sog/5_0": 3000, "playbot_sog/6_0": 1873,
        "pc_short.ply": 100, "tiny/splatapult_test.ply": 16, "tiny/minimal-raw.spz": 4, "tiny/minimal-v2.spz": 4,
        "tiny/minimal-v3.spz": 4, "tiny/minimal-v4.spz": 4, "tiny/minimal.ksplat": 4, "tiny/minimal.splat": 4,
        "tiny/test-splat.3-points-from-train.ply": 3, "tiny/test-splat.3-points-from-train.spz": 3,
        "tiny/test-splat.3-points-from-train.splat": 3,
    }  # fmt: skip
    for name, count in counts.items():
        assert len(read_scene(shared_data / "splats" / name)) == count, name


def test_glb_is_sound_gltf() -> None:
    """What the standard asks of every accessor: bounds of positions, aligned views inside the buffer."""
    data = glb.write(scene(1))
    size = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + size])
    buffer = document["buffers"][0]["byteLength"]
    assert document["extensionsUsed"] == ["KHR_gaussian_splatting"]
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert {"POSITION", "COLOR_0", "KHR_gaussian_splatting:SH_DEGREE_1_COEF_2"} <= attributes.keys()
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= buffer
    position = document["accessors"][attributes["POSITION"]]
    turned = convert_axes(scene(1), "RDF", "LUF").means
    np.testing.assert_allclose(position["min"], turned.min(axis=0))
    np.testing.assert_allclose(position["max"], turned.max(axis=0))


def test_readers_agree_with_each_other() -> None:
    """One scene through all our writers of one precision or better, compared at the coarser step."""
    want = scene(0)
    for got in (compressed_ply.read(compressed_ply.write(want)), sog.read(sog_writer.write(want))):
        assert np.abs(got.means - want.means).max() < 2e-3
    assert np.abs(spz.read(spz.write(want)).means - want.means).max() < 2.0**-12
