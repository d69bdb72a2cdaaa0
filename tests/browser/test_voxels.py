"""Voxel fields in the page: its decoder and its march against ours."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import Site
from splat_scenes import BASE64, camera, numbers, page_camera, psnr
from voxel_scenes import ball_pyramid, ball_voxels, encoded, pyramid, scene

from scenerep.coding import decode_file
from scenerep.coding.voxels import VoxelSteps
from scenerep.coding.weights import encode_field
from scenerep.field_shapes import FieldShape
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import look_at
from scenerep.render import render
from scenerep.scenes import PICTURE, MipVoxels, NeuralField, Voxels

if TYPE_CHECKING:
    from playwright.sync_api import Page

FINE = VoxelSteps(1 / 64, 1 / 64, 1 / 64)

_READ = f"""async (url) => {{ {BASE64}
  const {{ readWhole }} = await import("/formats/detect.js");
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  try {{
    const {{ field, ...head }} = await readWhole(bytes, "x.srz");
    const coded = ({{ places, values, size }}) => ({{ size, places: base64(places), values: base64(values) }});
    const levels = field.levels.map(coded);
    return {{ ...head, ...field, levels, network: field.network && base64(field.network) }};
  }} catch (error) {{
    return {{ error: error.message, name: error.name }};
  }}
}}"""
_OPEN = f"""async (asked) => {{ {BASE64}
  const {{ Renderer }} = await import("/render/webgl2.js");
  const {{ openScene }} = await import("/load/load.js");
  const {{ urlSource }} = await import("/load/source.js");
  const canvas = document.body.appendChild(document.createElement("canvas"));
  const renderer = new Renderer(canvas, {{ exact: true }});
  let scene;
  await openScene(await urlSource(new URL(asked, location.href)), {{
    onHead: (head) => (scene = renderer.createScene(head)),
    onChunk: (chunk) => scene.append(chunk),
  }});
  globalThis.state = {{ renderer, scene, base64 }};
  return {{ count: scene.count, splats: scene.chunks[0].count, bytes: scene.bytes }};
}}"""
_CAPTURE = """async (camera) => {
  const { renderer, scene, base64 } = globalThis.state;
  return base64(await renderer.capture(scene, { camera, float: true }));
}"""


def _array(text: str, dtype: Any) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def _written(site: Site, name: str, data: bytes) -> str:
    (site.files / name).write_bytes(data)
    return f"/files/{name}"


@pytest.mark.parametrize("which", ["empty", "one", "sh0", "sh1", "mip", "ball"])
def test_the_page_decodes_the_same_numbers(page: Page, site: Site, which: str) -> None:
    made: dict[str, Any] = {"empty": scene(0), "one": scene(1), "sh0": scene(300, 0), "sh1": scene(300)}
    field = made.get(which) or (pyramid() if which == "mip" else ball_pyramid())
    data = encoded(field)
    truth = decode_file(data).scene
    assert isinstance(truth, Voxels | MipVoxels)
    found = page.evaluate(_READ, _written(site, f"{which}.srz", data))
    assert "error" not in found, found
    assert found["size"] == list(truth.size)
    np.testing.assert_array_equal(np.reshape(found["box"], (2, 3)), truth.box)
    indices = (truth.index,) if isinstance(truth, Voxels) else truth.indices
    values = (truth.values,) if isinstance(truth, Voxels) else truth.values
    assert len(found["levels"]) == len(indices)
    for level, index, rows in zip(found["levels"], indices, values, strict=True):
        nx, ny, _ = level["size"]
        x, y, z = _array(level["places"], np.int32).reshape(-1, 3).T.astype(np.int64)
        order = np.argsort((z * ny + y) * nx + x)
        np.testing.assert_array_equal(((z * ny + y) * nx + x)[order], index)
        np.testing.assert_array_equal(_array(level["values"], np.float32).reshape(rows.shape)[order], rows)
    if isinstance(truth, MipVoxels):
        flat = np.concatenate([w.reshape(-1) for w in truth.network.values()])
        np.testing.assert_array_equal(_array(found["network"], np.float32), flat)


def test_damaged_files_say_so(page: Page, site: Site) -> None:
    """Bits flipped inside the chunks, checksums made good: a field, or an error that names the file."""
    from changed_files import mended

    data, rng = encoded(scene(200)), np.random.default_rng(0)
    errors = 0
    for trial in range(60):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            changed[at] ^= 1 << int(rng.integers(8))
        found = page.evaluate(_READ, _written(site, f"broken{trial}.srz", mended(changed, data)))
        if "error" in found:
            errors += 1
            assert found["name"] == "FormatError" and "x.srz" in found["error"], found
    assert errors > 20


class _Shown:
    """A field in the renderer of a page."""

    def __init__(self, page: Page, site: Site, name: str, data: bytes) -> None:
        self.page = page
        self.opened = page.evaluate(_OPEN, _written(site, name, data))
        truth = decode_file(data).scene
        assert isinstance(truth, Voxels | MipVoxels)
        self.truth = truth

    def psnr(self, seen: Camera) -> float:
        """Of the page's picture, premultiplied RGBA, against ours."""
        found = numbers(self.page.evaluate(_CAPTURE, page_camera(seen)), np.float32, seen)
        ours = render(self.truth, seen)
        assert ours.alpha.mean() > 0.003
        return psnr(found, np.dstack([ours.rgb, ours.alpha]))


def _at(distance: float) -> Camera:
    """Looks at the middle from outside; far away the ball takes a few pixels, and a pixel many voxels."""
    eye = distance * np.array([0.6, -0.5, -0.62])
    return Camera(180.0, 180.0, 80.0, 60.0, 160, 120, look_at(eye, np.zeros(3), np.array([0.0, -1.0, 0.0])))


def test_mip_voxels_at_three_distances(page: Page, site: Site) -> None:
    shown = _Shown(page, site, "pyramid.srz", encoded(ball_pyramid(), FINE))
    assert shown.opened["count"] == len(shown.truth)
    assert 0 < shown.opened["splats"] <= 20000
    found = {distance: shown.psnr(_at(distance)) for distance in (1.5, 4.0, 14.0)}
    print(found)
    assert min(found.values()) >= 45, found


@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize("degree", [0, 1])
def test_voxels_with_sh(page: Page, site: Site, degree: int, contracted: bool) -> None:
    field = ball_voxels(degree, contracted=contracted)
    shown = _Shown(page, site, f"ball{degree}{contracted}.srz", encoded(field, FINE))
    for which in range(3):
        v = shown.psnr(camera(which, size=(160, 120)))
        print(v)
        assert v >= 45


def test_an_empty_field(page: Page, site: Site) -> None:
    shown = _Shown(page, site, "empty_field.srz", encoded(scene(0)))
    picture = numbers(page.evaluate(_CAPTURE, page_camera(_at(2.0))), np.float32, _at(2.0))
    assert (picture == 0).all()
    assert shown.opened["splats"] == 0


def test_networks_are_refused(page: Page, site: Site) -> None:
    shape = FieldShape("siren", 2, 3, 1, 1, omega=30.0)
    weights = {name: np.zeros(size, np.float32) for name, size in shape.arrays().items()}
    network = NeuralField(shape, weights, PICTURE, np.array([[0.0, 0], [4, 3]]))
    data = encode_field(network, dict.fromkeys(weights, 0.5))
    found = page.evaluate(_READ, _written(site, "network.srz", data))
    assert "expected kind 1 to 5, found 6" in found["error"]
