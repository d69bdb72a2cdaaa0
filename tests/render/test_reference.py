"""The reference: against a plain loop over pixels, its own gradients by gradcheck, its independence of the tiling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from render_scenes import make_camera, make_scene, pose_of, relative_error, scalar_loss, with_gradients
from scipy.spatial.transform import Rotation

from scenerep.geometry import sh
from scenerep.geometry.cameras import Camera
from scenerep.render import ScreenProbe, rasterize
from scenerep.render.reference import rasterize_reference


def _plain_loop(scene: dict[str, torch.Tensor], camera: Camera, antialiased: bool, background: np.ndarray):
    """The rules once more, with scipy and numpy, one pixel and one Gaussian at a time."""
    means, log_scales, quats, logits, coefficients = (t.numpy() for t in scene.values())
    pose = camera.camera_from_world
    splats = []
    for i in range(len(means)):
        x, y, z = pose[:3, :3] @ means[i] + pose[:3, 3]
        if not 0.01 <= z <= 1e10:
            continue
        rot = Rotation.from_quat(quats[i], scalar_first=True).as_matrix()
        world = rot @ np.diag(np.exp(2 * log_scales[i])) @ rot.T
        half_x, half_y = 0.5 * camera.width / camera.fx, 0.5 * camera.height / camera.fy
        tx = np.clip(
            x / z, -camera.cx / camera.fx - 0.3 * half_x, (camera.width - camera.cx) / camera.fx + 0.3 * half_x
        )
        ty = np.clip(
            y / z, -camera.cy / camera.fy - 0.3 * half_y, (camera.height - camera.cy) / camera.fy + 0.3 * half_y
        )
        jacobian = np.array([[camera.fx / z, 0, -camera.fx * tx / z], [0, camera.fy / z, -camera.fy * ty / z]])
        cov = jacobian @ pose[:3, :3] @ world @ pose[:3, :3].T @ jacobian.T
        blurred = cov + 0.3 * np.eye(2)
        opacity = 1 / (1 + np.exp(-logits[i]))
        if antialiased:
            opacity *= np.sqrt(max(0, np.linalg.det(cov) / np.linalg.det(blurred)))
        direction = means[i] - camera.centre
        direction /= np.linalg.norm(direction)
        colour = np.maximum(0, 0.5 + sh.evaluate(coefficients[i][None], direction[None])[0])
        uv = np.array([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy])
        splats.append((z, i, uv, np.linalg.inv(blurred), opacity, colour))
    splats.sort(key=lambda s: s[:2])
    rgb, alphas, depth, median = (np.zeros((camera.height, camera.width, k)) for k in (3, 1, 1, 1))
    for row in range(camera.height):
        for column in range(camera.width):
            t = 1.0
            for z, _, uv, conic, opacity, colour in splats:
                d = uv - (column + 0.5, row + 0.5)
                alpha = min(0.999, opacity * np.exp(-0.5 * d @ conic @ d))
                if alpha < 1 / 255:
                    continue
                if t * (1 - alpha) <= 1e-4:
                    break
                rgb[row, column] += t * alpha * colour
                depth[row, column] += t * alpha * z
                if t >= 0.5 > t * (1 - alpha):
                    median[row, column] = z
                t *= 1 - alpha
            rgb[row, column] += t * background
            alphas[row, column] = 1 - t
    depth = np.divide(depth, alphas, out=np.zeros_like(depth), where=alphas > 0)
    return rgb, alphas[..., 0], depth[..., 0], median[..., 0]


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("degree", range(4))
def test_equals_a_plain_loop(degree: int, antialiased: bool):
    camera = make_camera(21, 19, seed=degree)
    scene = make_scene(60, camera, seed=degree, degree=degree, size_px=2.5)
    scene["opacity_logits"][:20] += 6  # opaque ones, which stop pixels
    scene["means"][50:] = scene["means"][40:50]  # equal depths: the index decides
    background = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    out = rasterize(
        **scene,
        camera=camera,
        background=background,
        antialiased=antialiased,
        depth=True,
        median_depth=True,
        backend="reference",
    )
    expected = _plain_loop(scene, camera, antialiased, background.numpy())
    for found, wanted in zip((out.rgb, out.alpha, out.depth, out.median_depth), expected):
        assert found is not None
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-10)
    assert out.alpha.max() > 0.99


@pytest.mark.parametrize(("antialiased", "degree", "sh_degree"), [(False, 1, 1), (True, 1, 0)])
def test_gradcheck(antialiased: bool, degree: int, sh_degree: int):
    camera = make_camera(5, 4, seed=3)
    scene = make_scene(4, camera, seed=3, degree=degree, size_px=1.5)
    features = torch.randn(4, 2, dtype=torch.float64)
    background = torch.rand(3, dtype=torch.float64)
    inputs = [t.requires_grad_() for t in (*scene.values(), features, background, pose_of(camera))]

    def run(means, log_scales, quats, logits, sh, features, background, pose):
        out = rasterize(
            means,
            log_scales,
            quats,
            logits,
            sh,
            camera,
            sh_degree=sh_degree,
            background=background,
            antialiased=antialiased,
            features=features,
            depth=True,
            camera_from_world=pose,
            backend="reference",
        )
        # A few random combinations of all pixels instead of every one: as telling, and much faster.
        return torch.cat([p.reshape(-1) for p in (out.rgb, out.alpha, out.depth, out.features)]) @ combinations

    combinations = torch.randn(5 * 4 * 7, 3, dtype=torch.float64)
    assert rasterize(**scene, camera=camera, backend="reference").alpha.max() > 0.3
    assert torch.autograd.gradcheck(run, inputs, atol=1e-6, rtol=1e-5)


def _run_with_tiles(tile_px: int, chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scenerep.render.reference._CHUNK", chunk)
    camera = make_camera(19, 13, seed=5)
    inputs = with_gradients(make_scene(120, camera, seed=5))
    pose = pose_of(camera).requires_grad_()
    probe = ScreenProbe(absolute=True)
    out = rasterize_reference(
        **inputs,
        camera=camera,
        sh_degree=3,
        background=torch.ones(3, dtype=torch.float64),
        antialiased=False,
        features=None,
        depth=True,
        median_depth=True,
        camera_from_world=pose,
        probe=probe,
        tile_px=tile_px,
    )
    scalar_loss(out).backward()
    gradients = {name: t.grad for name, t in inputs.items()} | {"pose": pose.grad}
    probed = {"visible": probe.visible.double(), "gradient": probe.gradient, "absolute": probe.absolute}
    return {"rgb": out.rgb, "depth": out.depth, "median": out.median_depth} | gradients | probed


def test_tiles_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    """Pixels of a tile share the loop and a tile stops early; neither may show."""
    expected = _run_with_tiles(64, 1000, monkeypatch)
    for tile_px, chunk in ((16, 256), (5, 7), (1, 1000)):
        for name, found in _run_with_tiles(tile_px, chunk, monkeypatch).items():
            assert relative_error(found, expected[name]) < 1e-9, (tile_px, chunk, name)


def test_float32_is_close_to_float64():
    camera = make_camera(40, 30, seed=1)
    scene = make_scene(200, camera, seed=1)
    exact = rasterize(**scene, camera=camera, backend="reference")
    single = rasterize(**{k: t.float() for k, t in scene.items()}, camera=camera, backend="reference")
    assert single.rgb.dtype == torch.float32
    assert (single.rgb - exact.rgb).abs().mean() < 1e-5


def test_pose_overrides_the_cameras():
    camera, other = make_camera(20, 20, seed=1), make_camera(20, 20, seed=2)
    scene = make_scene(50, camera, seed=1)
    expected = rasterize(**scene, camera=camera, backend="reference")
    found = rasterize(**scene, camera=other, camera_from_world=pose_of(camera), backend="reference")
    assert torch.equal(found.rgb, expected.rgb)


def test_second_backward_overwrites_the_probe():
    camera = make_camera(20, 20, seed=1)
    inputs, probe = with_gradients(make_scene(30, camera, seed=1)), ScreenProbe()
    out = rasterize(**inputs, camera=camera, probe=probe, backend="reference")
    assert probe.visible is not None and probe.gradient is None
    out.rgb.sum().backward(retain_graph=True)
    first = probe.gradient
    out.rgb.sum().backward()
    assert first is not None and torch.equal(first, probe.gradient)
    assert probe.absolute is None
    assert not first[~probe.visible].any() and first[probe.visible].any(1).sum() > 10
