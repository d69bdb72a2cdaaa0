"""Watching a training in the browser: our own page with the scene as it grows, and viser's dashboard beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from scenerep.captures import Capture
from scenerep.events import Evaluated, Event, Step
from scenerep.scenes import Gaussians
from scenerep.viewer.dashboard import Dashboard
from scenerep.viewer.live_feed import LiveFeed
from scenerep.viewer.offer import Surroundings
from scenerep.viewer.serve import PageServer

# What a browser gets while training; more would take the CPU from the training itself.
_MOST_GAUSSIANS = 150_000
_GOODBYE_SECONDS = 5.0  # a page that is still at the scene before gets so long to ask for the last one


class LiveView:
    """Shows a training in the browser, on this machine only.

    Args:
        port: TCP port of the page; 0 takes a free one.
        capture: Its cameras and pictures are shown.
        min_seconds: Shortest time between two pictures of the scene; updates that come earlier only change the numbers.
        dashboard: Start viser's page, too, on a free port.

    Raises:
        DeviceError: if the port is taken.
    """

    def __init__(
        self, port: int = 8080, *, capture: Capture | None = None, min_seconds: float = 2.0, dashboard: bool = True
    ) -> None:
        # White behind pictures with alpha, black otherwise: the rule of the training.
        white = capture is not None and capture.image(0).shape[2] == 4
        background = (1.0, 1.0, 1.0) if white else (0.0, 0.0, 0.0)
        self._paused = threading.Event()
        self._feed = LiveFeed(self.pause, most=_MOST_GAUSSIANS)
        surroundings = Surroundings("scenerep training", background, capture)
        self._page = PageServer((), surroundings, port=port, live=self._feed)
        self.port, self.url = self._page.port, self._page.url
        self._dashboard: Dashboard | None = None
        if dashboard:
            try:
                self._dashboard = Dashboard(0, capture=capture, background=background, on_pause=self.pause)
            except BaseException:
                self._page.stop()
                raise
        self._min_seconds = min_seconds
        self._next = 0.0  # time.monotonic() from which the scene may be sent again
        self._step = 0

    @property
    def dashboard_url(self) -> str | None:
        """The address of viser's page; None if it was not asked for."""
        return None if self._dashboard is None else self._dashboard.url

    @property
    def paused(self) -> bool:
        """Whether somebody has asked for a pause, on either page."""
        return self._paused.is_set()

    def pause(self, value: bool) -> None:
        """Begin or end a pause, and let all pages know."""
        if value == self.paused:
            return
        (self._paused.set if value else self._paused.clear)()
        self._feed.set(paused=value)
        if self._dashboard is not None:
            self._dashboard.set_paused(value)

    @property
    def wants_scene(self) -> bool:
        """Whether a scene would be shown now: somebody waits for one, and the last is `min_seconds` old."""
        watched = self._feed.wants_scene or (self._dashboard is not None and self._dashboard.wants_scene)
        return watched and time.monotonic() >= self._next

    def update(self, scene: Gaussians | None, event: Event) -> None:
        """Show the numbers of an event, and the scene if `wants_scene`.

        Args:
            scene: As it is now; None shows the numbers only.
            event: Any; steps and evaluations are shown.
        """
        if isinstance(event, (Step, Evaluated)):
            self._step = event.step
        self._feed.tell(event)
        if self._dashboard is not None:
            self._dashboard.tell(event)
        if scene is None or not self.wants_scene:
            return
        start = time.monotonic()
        if self._feed.wants_scene:
            self._feed.show(scene, self._step)
        if self._dashboard is not None and self._dashboard.wants_scene:
            self._dashboard.show(scene)
        took = time.monotonic() - start
        # A scene that takes long to send is sent less often: at most a tenth of the time goes into showing.
        self._next = start + max(self._min_seconds, 10 * took)

    def hold(self, cancelled: Callable[[], bool] = lambda: False) -> float:
        """Block while somebody pauses and `cancelled()` is False; returns the seconds that this took."""
        start = time.monotonic()
        while self.paused and not cancelled():
            time.sleep(0.1)
        return time.monotonic() - start

    def finish(self, scene: Gaussians) -> None:
        """Show the last scene to everybody, whatever the time, and that the training is over."""
        self._feed.show(scene, self._step)
        self._feed.set(finished=True)
        if self._dashboard is not None and self._dashboard.wants_scene:
            self._dashboard.show(scene)
        self._feed.drain(_GOODBYE_SECONDS)

    def stop(self) -> None:
        """Close the pages' connections and free the ports."""
        self._page.stop()
        if self._dashboard is not None:
            self._dashboard.stop()
