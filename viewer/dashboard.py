"""viser's page while a scene is trained: splats of one colour each, the cameras with their pictures, the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scenerep.captures import Capture
from scenerep.events import Evaluated, Event, Step
from scenerep.scenes import Gaussians
from scenerep.viewer.server import SceneServer

# viser sends 32 bytes for each, to every browser that looks.
_MOST_GAUSSIANS = 150_000


class Dashboard:
    """Shows a training with viser, on this machine only (see server.py).

    Args:
        port: TCP port on 127.0.0.1; 0 takes a free one.
        capture: Draws its cameras and their pictures.
        background: Colour behind the splats, in [0, 1].
        on_pause: Called with the new value when somebody ticks or unticks the pause box.

    Raises:
        DeviceError: if the port is taken.
    """

    def __init__(
        self,
        port: int,
        *,
        capture: Capture | None,
        background: tuple[float, float, float],
        on_pause: Callable[[bool], None],
    ) -> None:
        self._server = SceneServer(port, capture=capture, background=background, title="scenerep training")
        self.port, self.url = self._server.port, self._server.url
        self._step: Step | None = None
        self._evaluated: Evaluated | None = None
        gui = self._server.server.gui
        self._text: Any = gui.add_markdown("waiting for the first steps")
        self._pause: Any = gui.add_checkbox("Pause", False)
        self._pause.on_update(lambda _: on_pause(bool(self._pause.value)))

    @property
    def wants_scene(self) -> bool:
        """Whether anybody looks."""
        return len(self._server.server.get_clients()) > 0

    def set_paused(self, value: bool) -> None:
        """Tick or untick the box."""
        if bool(self._pause.value) != value:
            self._pause.value = value

    def tell(self, event: Event) -> None:
        """Show the numbers of a step or an evaluation."""
        if isinstance(event, Step):
            self._step = event
        elif isinstance(event, Evaluated):
            self._evaluated = event
        self._text.content = self.text()

    def show(self, scene: Gaussians) -> None:
        """Put a scene in place of the one before."""
        self._server.show(scene, most=_MOST_GAUSSIANS)

    def text(self) -> str:
        """The numbers, as Markdown."""
        if self._step is None:
            return "waiting for the first steps"
        step = self._step
        lines = [f"**step {step.step:,}** ({100 * step.progress:.0f} %)", f"loss {step.loss:.4f}"]
        lines.append(f"{step.count:,} Gaussians")
        if self._evaluated is not None:
            score = self._evaluated
            lines.append(f"PSNR {score.psnr:.2f} dB, SSIM {score.ssim:.4f} (step {score.step:,}, {score.views} views)")
        lines.append(f"{step.seconds / 60:.1f} min trained, {step.seconds_left / 60:.1f} min left")
        return "  \n".join(lines)

    def stop(self) -> None:
        """Close the page's connections and free the port."""
        self._server.stop()
