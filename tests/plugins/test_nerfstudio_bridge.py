"""What of the bridge needs no nerfstudio; scripts/nerfstudio_check runs the rest inside it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from rendered_capture import photograph_scene, points_about, ring, small_scene

from scenerep import metrics
from scenerep.data_tools import open_capture
from scenerep.errors import SceneRepError
from scenerep.plugins.images import image_metrics
from scenerep.plugins.nerfstudio_capture import write_nerfstudio

ROOT = Path(__file__).resolve().parents[2]


def test_a_capture_that_nerfstudio_reads_is_the_same_capture(tmp_path: Path) -> None:
    scene = small_scene(20)
    before = photograph_scene(tmp_path / "capture", scene, ring(5)).with_points(points_about(scene))
    write_nerfstudio(before, tmp_path / "out")
    after = open_capture(tmp_path / "out")
    assert after.source == "nerfstudio"
    assert len(after) == len(before)
    for i in range(len(before)):
        a, b = before.camera(i), after.camera(i)
        np.testing.assert_allclose(a.world_from_camera, b.world_from_camera, atol=1e-9)
        np.testing.assert_allclose(a.intrinsics, b.intrinsics)
        np.testing.assert_array_equal(before.image(i), after.image(i))
    assert before.points is not None
    assert after.points is not None
    np.testing.assert_allclose(before.points.xyz, after.points.xyz, atol=1e-6)
    with pytest.raises(SceneRepError):
        write_nerfstudio(before, tmp_path / "out")


def test_metrics_and_pictures(rng: np.random.Generator) -> None:
    truth = torch.from_numpy(rng.random((20, 30, 3), dtype=np.float32))
    rgb = (truth + 0.1).requires_grad_()
    depth, alpha = torch.rand(20, 30, 1), torch.zeros(20, 30, 1)
    found, pictures = image_metrics({"rgb": rgb, "depth": depth, "accumulation": alpha}, truth)
    assert found["psnr"] == pytest.approx(metrics.psnr(rgb.detach().clamp(0, 1).numpy(), truth.numpy()))
    assert 0 < found["ssim"] <= 1
    assert pictures["img"].shape == (20, 60, 3)
    assert pictures["depth"].shape == (20, 30, 3)
    assert torch.isfinite(pictures["accumulation"]).all()


def test_the_entry_points_name_what_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text.split('[project.entry-points."nerfstudio.method_configs"]')[1].split("[")[0]
    found = re.findall(r'^(\S+) = "([\w.]+):(\w+)"$', section, re.MULTILINE)
    assert [name for name, _, _ in found] == ["scenerep-splats", "scenerep-voxels", "scenerep-mip-voxels"]
    for _, module, attribute in found:
        source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
        assert re.search(rf"^{attribute} = MethodSpecification\(", source, re.MULTILINE)
