"""The viewer while a scene is trained: the splats as they grow, the numbers, and a button that holds the training."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from scenerep.captures import Capture
from scenerep.events import Evaluated, Event, Step
from scenerep.scenes import Gaussians
from scenerep.viewer.server import SceneServer

# What a browser gets while training; more would take the CPU from the training itself.
_MOST_GAUSSIANS = 150_000


class LiveView:
    """Shows a training in the browser, on this machine only (see server.py).

    Args:
        port: TCP port on 127.0.0.1; 0 takes a free one.
        capture: Draws its cameras and their pictures.
        min_seconds: Shortest time between two pictures of the scene; updates that come earlier only change the numbers.

    Raises:
        DeviceError: if the port is taken.
    """

    def __init__(self, port: int = 8080, *, capture: Capture | None = None, min_seconds: float = 2.0) -> None:
        # White behind pictures with alpha, black otherwise: the rule of the training.
        white = capture is not None and capture.image(0).shape[2] == 4
        background = (1.0, 1.0, 1.0) if white else (0.0, 0.0, 0.0)
        self._server = SceneServer(port, capture=capture, background=background, title="scenerep training")
        self.port, self.url = self._server.port, self._server.url
        self._min_seconds = min_seconds
        self._next = 0.0  # time.monotonic() from which the scene may be sent again
        self._step: Step | None = None
        self._evaluated: Evaluated | None = None
        gui = self._server.server.gui
        self._text: Any = gui.add_markdown("waiting for the first steps")
        self._pause: Any = gui.add_checkbox("Pause", False)

    @property
    def paused(self) -> bool:
        """Whether the pause box is ticked."""
        return bool(self._pause.value)

    def update(self, scene: Gaussians | None, event: Event) -> None:
        """Show the numbers of an event, and the scene if the last one is `min_seconds` old.

        Args:
            scene: As it is now; None shows the numbers only.
            event: Any; steps and evaluations are shown.
        """
        if isinstance(event, Step):
            self._step = event
        elif isinstance(event, Evaluated):
            self._evaluated = event
        self._text.content = self.text()
        start = time.monotonic()
        if scene is not None and start >= self._next:
            self._server.show(scene, most=_MOST_GAUSSIANS)
            took = time.monotonic() - start
            # A scene that takes long to send is sent less often: at most a tenth of the time goes into showing.
            self._next = start + max(self._min_seconds, 10 * took)

    def hold(self, cancelled: Callable[[], bool] = lambda: False) -> float:
        """Block while the pause box is ticked and `cancelled()` is False; returns the seconds that this took."""
        start = time.monotonic()
        while self.paused and not cancelled():
            time.sleep(0.1)
        return time.monotonic() - start

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
