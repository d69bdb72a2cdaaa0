"""The browser viewer: a viser server with the splats, the cameras with their pictures, and the way that is up.

viser by itself accepts connections from pages of any origin and has no password. So the server is bound to 127.0.0.1,
where only programs on this machine reach it, and a websocket has to come from the page itself, or every web site open
in a browser here could read the scene. To look from elsewhere, use `ssh -L 8080:localhost:8080 machine`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from scenerep.captures import Capture
from scenerep.errors import DataError, DeviceError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.layout import Layout, camera_layout, surrounding_cameras
from scenerep.geometry.quaternions import quaternion_from_rotation
from scenerep.scenes import Gaussians
from scenerep.viewer.splats import VIEW_DISTANCE, splats_for_browser

HOST = "127.0.0.1"
_MOST_FRUSTUMS = 120
_THUMBNAIL = 160  # px; the pictures of all frustums together stay below 2 MB
_TRAIN_COLOUR, _TEST_COLOUR = (60, 110, 200), (220, 130, 30)


class SceneServer:
    """A running viewer. `show(scene)` puts a scene on the page, again and again if need be; `stop()` ends it.

    Args:
        port: TCP port on this machine; 0 takes a free one (see `.port`).
        capture: Draws its cameras and starts at one of them; None looks at the scene from around it.
        cameras: Used for the start where there is no capture.
        background: Colour behind the splats, in [0, 1]: that of the training, or thin parts look wrong.
        title: Shown on the page.

    Raises:
        DeviceError: if the port is taken.
    """

    def __init__(
        self,
        port: int = 8080,
        *,
        capture: Capture | None = None,
        cameras: Sequence[Camera] = (),
        background: tuple[float, float, float] = (0.0, 0.0, 0.0),
        title: str = "scenerep",
    ) -> None:
        import viser  # half a second, and only those who look at something need it

        # viser would move on to the next port, and the address that was printed or forwarded would lead nowhere.
        port = _free_port(port)
        # It prints a banner, and stdout is for results.
        with contextlib.redirect_stdout(io.StringIO()), _own_origins_only(port):
            self.server = viser.ViserServer(host=HOST, port=port, label=title, verbose=False)
        # The share button would hand the page to the whole world through somebody's server.
        self.server.gui.configure_theme(show_share_button=False)
        box: Any = self.server.gui.add_checkbox("Cameras", False)
        box.on_update(lambda _: self._set_frustums_visible(bool(box.value)))
        colour = np.round(255 * np.asarray(background)).astype(np.uint8)
        self.server.scene.set_background_image(np.broadcast_to(colour, (2, 2, 3)).copy(), format="png")
        self.port = int(self.server.get_port())
        self.url = f"http://localhost:{self.port}"
        self.capture = capture
        self._cameras = [capture.camera(i) for i in range(len(capture.views))] if capture is not None else list(cameras)
        self._frustums: list[Any] = []
        self._splats: Any = None
        self._scale: float | None = None
        self.count = 0

    def show(self, scene: Gaussians, *, most: int | None = None) -> None:
        """Put a scene on the page in place of the one before; `most` bounds the number of Gaussians that are sent."""
        if self._scale is None:
            self._set_up(scene)
        assert self._scale is not None
        splats = splats_for_browser(scene, self._scale, [camera.centre for camera in self._cameras], most)
        self.count = len(scene)
        # One message replaces the node of the same name; viser 1 could update in place, 0.2.7 cannot.
        with self.server.atomic():
            if len(splats.centers) > 0:
                scene_api: Any = self.server.scene
                add = getattr(scene_api, "add_gaussian_splats", None) or scene_api._add_gaussian_splats  # viser 0.2.7
                self._splats = add("/splats", splats.centers, splats.covariances, splats.rgbs, splats.opacities)
            elif self._splats is not None:
                self._splats.remove()
                self._splats = None

    def _set_frustums_visible(self, visible: bool) -> None:
        for frustum in self._frustums:
            frustum.visible = visible

    def stop(self) -> None:
        """Close all connections and free the port."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.server.stop()

    def _set_up(self, scene: Gaussians) -> None:
        """Scale, up and the first look, from the cameras if there are any, else from the scene."""
        cameras = self._cameras or surrounding_cameras(scene.means)
        if self.capture is not None and self.capture.train:  # held-out places may be badly seen by the others
            cameras = [self._cameras[i] for i in self.capture.train]
        layout = camera_layout(cameras, scene.means[scene.opacity_logits > 0])
        self._scale = VIEW_DISTANCE / max(layout.distance, 1e-9)
        self.server.scene.set_up_direction(tuple(layout.up.tolist()))
        self._look_from(typical_view(cameras, layout), layout)
        if self.capture is not None:
            self._add_frustums(self.capture)

    def _look_from(self, camera: Camera, layout: Layout) -> None:
        assert self._scale is not None
        forward = camera.world_from_camera[:3, 2]
        # The focus as seen by this camera: what the mouse then turns around lies in the middle of the picture.
        ahead = max(float((layout.focus - camera.centre) @ forward), 0.1 * layout.distance)
        position = camera.centre * self._scale
        target = (camera.centre + forward * ahead) * self._scale
        fov = 2 * math.atan(0.5 * camera.height / camera.fy)

        def place(client: Any) -> None:
            client.camera.position = tuple(position.tolist())
            client.camera.look_at = tuple(target.tolist())
            client.camera.up_direction = tuple(layout.up.tolist())
            client.camera.fov = fov

        initial = getattr(self.server, "initial_camera", None)  # viser 1; "reset view" comes back to it
        if initial is not None:
            initial.position = tuple(position.tolist())
            initial.look_at = tuple(target.tolist())
            initial.up = tuple(layout.up.tolist())
            initial.fov = fov
        else:
            self.server.on_client_connect(place)

    def _add_frustums(self, capture: Capture) -> None:
        assert self._scale is not None
        count = len(self._cameras)
        for i in np.unique(np.linspace(0, count - 1, min(count, _MOST_FRUSTUMS)).round().astype(int)):
            camera = self._cameras[i]
            frustum = self.server.scene.add_camera_frustum(
                f"/cameras/{i:04d}",
                fov=2 * math.atan(0.5 * camera.height / camera.fy),
                aspect=camera.width / camera.height,
                scale=0.06 * VIEW_DISTANCE,
                color=_TEST_COLOUR if capture.views[i].split == "test" else _TRAIN_COLOUR,
                image=thumbnail(capture, int(i)),
                wxyz=quaternion_from_rotation(camera.world_from_camera[:3, :3]),
                position=camera.centre * self._scale,
                visible=False,  # the first look is from inside one of them; a box on the page shows them
            )
            frustum.on_click(self._look_through(camera))
            self._frustums.append(frustum)

    def _look_through(self, camera: Camera) -> Any:
        def move(event: Any) -> None:
            assert self._scale is not None
            client = event.client
            position = camera.centre * self._scale
            with client.atomic():
                client.camera.wxyz = quaternion_from_rotation(camera.world_from_camera[:3, :3])
                client.camera.position = position
                client.camera.look_at = position + camera.world_from_camera[:3, 2] * VIEW_DISTANCE

        return move


def typical_view(cameras: Sequence[Camera], layout: Layout) -> Camera:
    """The camera that looks most directly at the focus, from about the usual distance and the middle of all sides."""
    middle = np.mean([camera.centre for camera in cameras], axis=0) - layout.focus
    middle /= max(float(np.linalg.norm(middle)), 1e-9)

    def oddness(camera: Camera) -> float:
        offset = layout.focus - camera.centre
        distance = max(float(np.linalg.norm(offset)), 1e-9)
        cosine = float(offset @ camera.world_from_camera[:3, 2]) / distance
        # Cameras that go around have no middle; there this term only prefers the usual height.
        aside = 1.0 + float(offset @ middle) / distance
        return (1.0 - cosine) + aside + abs(math.log(distance / max(layout.distance, 1e-9)))

    return min(cameras, key=oddness)


def thumbnail(capture: Capture, i: int) -> np.ndarray | None:
    """uint8 [h, w, 3] of view `i` with the longer side at most 160 px; None if the picture cannot be read."""
    try:
        picture = Image.fromarray(capture.image(i)[..., :3])
    except DataError:
        return None
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(picture)


@contextlib.contextmanager
def _own_origins_only(port: int) -> Iterator[None]:
    """While entered, websocket servers that are started refuse pages of other origins. viser has no option for it.

    Raises:
        DeviceError: if viser has started its server by other means, which are not guarded.
    """
    import websockets.asyncio.server as sockets
    from websockets.typing import Origin

    used = False
    serve = sockets.serve

    @functools.wraps(serve)
    def guarded(*args: Any, **options: Any) -> Any:
        nonlocal used
        used = True
        origins = [Origin(f"http://{name}:{port}") for name in ("localhost", HOST)]
        return serve(*args, **options, origins=origins)

    sockets.serve = guarded  # type: ignore[assignment]
    try:
        yield
    finally:
        sockets.serve = serve  # type: ignore[assignment]
    if not used:
        raise DeviceError("this version of viser would let every web page in", "pip install --upgrade viser")


def _free_port(port: int) -> int:
    """The port itself, or some free one for 0; a DeviceError if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
        except (OSError, OverflowError) as error:
            raise DeviceError(
                f"port {port} on this machine is not free: {error}", "choose another with --port"
            ) from error
