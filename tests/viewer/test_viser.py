"""The viewer: what it sends is the scene, it listens on this machine only, and training can be held."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import viser
from rendered_capture import photograph_scene, ring, small_scene
from websockets.typing import Origin, Subprotocol

from scenerep.errors import DeviceError
from scenerep.events import Evaluated, Saved, Step
from scenerep.geometry import sh
from scenerep.scenes import Gaussians
from scenerep.viewer import SceneServer
from scenerep.viewer.dashboard import Dashboard
from scenerep.viewer.splats import mean_colours, splats_for_browser

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of viser and websockets


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    view = Dashboard(0, capture=None, background=(0.0, 0.0, 0.0), on_pause=lambda value: None)
    yield view
    view.stop()


def step(number: int) -> Step:
    return Step(step=number, loss=0.125, count=60, seconds=60.0, progress=0.25, seconds_left=180.0)


def test_covariances_are_those_of_the_scene() -> None:
    scene = small_scene(20)
    splats = splats_for_browser(scene, scale=2.0)
    for i in range(20):
        w, x, y, z = (scene.quats[i] / np.linalg.norm(scene.quats[i])).tolist()
        # Rotating a vector as q v q* with the plain product, a second way to the same matrix.
        axes = []
        for vector in np.eye(3):
            t = 2 * np.cross([x, y, z], vector)
            axes.append(vector + w * t + np.cross([x, y, z], t))
        rotation = np.stack(axes, axis=1)
        want = 4 * rotation @ np.diag(np.exp(2 * scene.log_scales[i].astype(float))) @ rotation.T
        np.testing.assert_allclose(splats.covariances[i], want, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(splats.centers, 2 * scene.means)
    np.testing.assert_allclose(splats.opacities[:, 0], 1 / (1 + np.exp(-scene.opacity_logits)), rtol=1e-5)


def test_extreme_gaussians_stay_in_the_range_of_float16() -> None:
    scene = small_scene(6)
    scene.log_scales[0] = [30, 0, -30]
    scene.log_scales[1] = 80
    scene.log_scales[2] = -80
    scene.quats[3] = 0
    scene.opacity_logits[4] = -10
    scene.opacity_logits[5] = 100
    splats = splats_for_browser(scene, scale=5.0)
    assert len(splats.centers) == 5  # the one that is never drawn is left out
    assert np.isfinite(splats.covariances.astype(np.float16)).all()
    assert np.isfinite(splats.opacities).all()
    assert len(splats_for_browser(small_scene(0), 1.0).centers) == 0


def test_most_keeps_the_large_and_opaque() -> None:
    scene = small_scene(50)
    scene.log_scales[:] = -5
    scene.opacity_logits[:] = 0
    scene.log_scales[[3, 40]] = -1
    np.testing.assert_array_equal(splats_for_browser(scene, 1.0, most=2).centers, scene.means[[3, 40]])


def test_mean_colours_average_over_the_viewpoints() -> None:
    scene = small_scene(10, degree=2)
    eyes = [np.array([5.0, 0, 0]), np.array([0, -4.0, 9])]
    want = np.zeros((10, 3))
    for eye in eyes:
        direction = scene.means - eye
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        want += np.maximum(0, 0.5 + sh.evaluate(scene.sh.astype(float), direction)) / 2
    np.testing.assert_allclose(mean_colours(scene, eyes), np.clip(want, 0, 1), atol=1e-5)
    np.testing.assert_allclose(mean_colours(scene, []), np.clip(sh.rgb_from_dc(scene.sh[:, 0]), 0, 1), atol=1e-6)


def test_server_shows_a_capture_on_loopback_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capture = photograph_scene(tmp_path / "capture", small_scene(), ring(6))
    server = SceneServer(0, capture=capture)
    try:
        assert server.server.get_host() == "127.0.0.1"
        with urllib.request.urlopen(server.url, timeout=60) as page:
            assert b"<html" in page.read().lower()
        server.show(small_scene())
        server.show(small_scene(0))
        server.show(small_scene(5))
        assert server.count == 5
        assert len(server._frustums) == 6
        assert capfd.readouterr().out == ""
        initial = getattr(server.server, "initial_camera", None)
        if initial is None:
            pytest.skip("viser before 1.1 places each browser when it connects")
        # The first look is that of a photograph that was trained on, with the way up that the cameras agree on.
        assert server._scale is not None
        apart = [np.linalg.norm(initial.position / server._scale - capture.camera(i).centre) for i in capture.train]
        assert min(apart) < 1e-5
        np.testing.assert_allclose(initial.up, [0, -1, 0], atol=0.01)
        with pytest.raises(DeviceError, match=f"port {server.port}") as caught:
            SceneServer(server.port)
        assert "--port" in caught.value.hint
    finally:
        server.stop()


def test_dashboard_follows_the_events(dashboard: Dashboard) -> None:
    assert "waiting" in dashboard.text()
    assert not dashboard.wants_scene  # nobody looks
    dashboard.tell(step(100))
    dashboard.tell(Evaluated(step=100, psnr=21.5, ssim=0.75, views=2))
    dashboard.tell(Saved(step=100, path=Path("x")))
    dashboard.show(small_scene(9))
    assert dashboard._server.count == 9
    for part in ("step 100", "25 %", "0.1250", "60 Gaussians", "21.50 dB", "3.0 min left"):
        assert part in dashboard.text()
        assert part in dashboard._text.content


def test_viser_refuses_pages_of_other_origins(dashboard: Dashboard) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    address = f"ws://127.0.0.1:{dashboard.port}"
    kinds = [Subprotocol(f"viser-v{viser.__version__}")]
    for origin in ("http://evil.example", f"http://evil.example:{dashboard.port}", "null"):
        with pytest.raises(InvalidStatus) as caught:
            connect(address, origin=Origin(origin), subprotocols=kinds)
        assert caught.value.response.status_code == 403
    connect(address, origin=Origin(dashboard.url), subprotocols=kinds).close()


def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(DeviceError, match="not free"):
            SceneServer(other.getsockname()[1])
    with pytest.raises(DeviceError):
        SceneServer(99999)


def test_scene_without_cameras_can_be_shown() -> None:
    server = SceneServer(0)
    try:
        server.show(Gaussians(*(np.zeros((1, *s), np.float32) + 1 for s in ((3,), (3,), (4,), (), (1, 3)))))
        assert server.count == 1
        assert server._frustums == []
    finally:
        server.stop()
