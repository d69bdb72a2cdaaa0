"""`scenerep diff`, `scenerep info` and the editing flags of `scenerep export`, on files of every format."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rendered_capture import small_scene

from scenerep.captures import Points
from scenerep.captures.points import points_to_ply
from scenerep.cli.main import main
from scenerep.evaluation.compare import attribute_errors, pair
from scenerep.formats import FORMATS
from scenerep.io import read_scene, write_scene


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_scene(small_scene(degree=2), tmp_path / "a.ply")
    return tmp_path / "a.ply"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_scene_does_not_differ_from_itself(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "diff", file, file, "--views", 2, "--max-side", 64, "--json")
    assert found["attributes"]["pairs"] == 60
    assert all(found["attributes"][name]["max"] == 0 for name in ("position", "shape", "opacity", "colour", "sh"))
    assert found["render"]["views"] == 2
    assert found["render"]["psnr"] is None or found["render"]["psnr"] > 90  # JSON has no word for infinity
    assert main(["diff", str(file), str(file), "--views", "0"]) == 0
    assert "60, by order" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["compressed.ply", "spz", "sog", "splat", "glb"])
def test_export_diff_and_info_of_every_format(file: Path, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.with_name(f"b.{ending}")
    exported = run(capsys, "export", file, out, "--json")
    assert exported["format"] == ending
    assert any("degree 0" in line for line in exported["lost"]) == (ending == "splat")
    info = run(capsys, "info", out, "--json")
    assert (info["format"], info["count"], info["sh_degree"]) == (ending, 60, 0 if ending == "splat" else 2)
    assert info["bytes_per_gaussian"] == pytest.approx(out.stat().st_size / 60)
    found = run(capsys, "diff", file, out, "--views", 2, "--max-side", 96, "--json")
    assert found["attributes"]["pairs"] == 60
    assert found["attributes"]["position"]["max"] < 2e-3
    assert found["attributes"]["shape"]["rms"] < 0.06
    assert found["render"]["psnr"] > (22 if ending == "splat" else 34)


def test_a_worse_scene_differs_more(file: Path) -> None:
    scene = read_scene(file)
    r = np.random.default_rng(0)
    errors = []
    for noise in (0.001, 0.01):
        moved = replace(scene, means=scene.means + noise * r.normal(size=scene.means.shape))
        found = attribute_errors(scene, moved)
        errors.append(found["position"]["rms"])
        assert found["colour"]["max"] == 0
    assert errors[0] == pytest.approx(0.001 * np.sqrt(3), rel=0.2)
    assert errors[1] == pytest.approx(0.01 * np.sqrt(3), rel=0.2)


def test_pairs_are_found_after_shuffling_and_losing() -> None:
    scene = small_scene(200)
    order = np.random.default_rng(1).permutation(200)[:150]
    a, b, how = pair(scene, scene.select(order))
    assert how == "nearest"
    np.testing.assert_array_equal(a, order[b])
    assert pair(scene, scene.select(np.zeros(0, int)))[0].size == 0


def test_edits(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def edited(*flags: object):
        run(capsys, "export", file, file.with_name("e.ply"), "--overwrite", "--json", *flags)
        return read_scene(file.with_name("e.ply"))

    scene = read_scene(file)
    assert len(edited("--merge", file)) == 120
    assert len(edited("--crop-sphere", 0.5, 0, 2, 0.6)) < 60
    assert len(edited("--crop-box", 0, -9, -9, 9, 9, 9)) == (scene.means[:, 0] >= 0).sum()
    assert edited("--sh-degree", 1).sh_degree == 1
    assert len(edited("--decimate", 20)) == 20
    np.testing.assert_allclose(np.median(edited("--recentre").means, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(
        edited("--scale", 2, "--translate", 1, 0, 0).means, 2 * scene.means + [1, 0, 0], atol=1e-5
    )
    up = edited("--up", "z").means
    np.testing.assert_allclose(-up[:, 1], scene.means[:, 2], atol=1e-5)
    turned = edited("--rotate", 0, 0, 90).means
    np.testing.assert_allclose(turned[:, :2], np.stack([-scene.means[:, 1], scene.means[:, 0]], axis=1), atol=1e-5)
    for flags, message in (
        (("--up", "sideways"), "no direction"),
        (("--up", "cameras"), "no cameras"),
        (("--scale", "0"), "scaled"),
    ):
        assert main(["export", str(file), str(file.with_name("f.ply")), *flags]) == 1
        assert message in capsys.readouterr().err


def test_points_and_meshes_by_name(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "export", file, file.with_name("points.ply"), "--json")["format"] == "points"
    assert run(capsys, "info", file.with_name("points.ply"), "--json")["kind"] == "points"
    made = run(
        capsys, "export", file, file.with_name("mesh.glb"), "--mesh.resolution", 48, "--mesh.max-side", 120, "--json"
    )
    assert made["format"] == "mesh" and made["triangles"] > 100
    said = run(capsys, "info", file.with_name("mesh.glb"), "--json")
    assert (said["kind"], said["triangles"]) == ("mesh", made["triangles"])
    assert main(["render", str(file.with_name("mesh.glb")), "--out", str(file.with_name("x.png"))]) == 1
    assert "no splat scene" in capsys.readouterr().err


def test_points_become_gaussians(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    r = np.random.default_rng(0)
    points = Points(r.normal(size=(50, 3)), r.integers(0, 256, (50, 3)).astype(np.uint8))
    (tmp_path / "cloud.ply").write_bytes(points_to_ply(points))
    rows = np.concatenate([points.xyz, points.rgb / 255], axis=1)
    np.savetxt(tmp_path / "cloud.xyzrgb", rows)
    for name in ("cloud.ply", "cloud.xyzrgb"):
        run(capsys, "export", tmp_path / name, tmp_path / f"{name}.splat", "--json")
        scene = read_scene(tmp_path / f"{name}.splat")
        order = np.argsort(scene.means[:, 0])
        np.testing.assert_allclose(scene.means[order], points.xyz[np.argsort(points.xyz[:, 0])], atol=1e-5)


def test_every_written_format_can_be_forced(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (key for key, entry in FORMATS.items() if entry.writer):
        out = file.with_name(f"{name}.bin")
        run(capsys, "export", file, out, "--format", name, "--json")
        assert read_scene(out).metadata["format"] == name


def test_sog_folder(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = file.with_name("sog")
    run(capsys, "export", file, folder / "meta.json", "--json")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".webp"}
    assert run(capsys, "info", folder, "--json")["format"] == "sog"
    assert run(capsys, "info", folder / "meta.json", "--json")["count"] == 60
    (folder / "scales.webp").unlink()
    assert main(["info", str(folder)]) == 1
    assert "scales.webp" in capsys.readouterr().err


def test_read_only_formats_say_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_only = [entry.endings[0] for entry in FORMATS.values() if entry.writer is None]
    for ending in read_only:
        assert main(["export", str(file), str(file.with_name(f"x{ending}"))]) == 1
        assert "only read" in capsys.readouterr().err
