"""What a training tells the page, over a websocket: numbers as JSON, and now and then the scene as a PLY.

Text messages to the page, each a JSON object with a `type`:
    state: step, loss, count, progress, seconds, seconds_left, psnr, ssim, paused, finished (null: not known yet)
    losses: points [[step, loss], ...], the curve so far, thinned out; sent once when a page connects
    scene: step, count, total, bytes; the next binary message is a whole PLY with the `count` Gaussians of most weight
Text messages from the page: {"type": "ready"} when it can take a scene, {"type": "pause", "value": true or false}.

A page gets no scene before it has said that it is ready, so a slow one slows nobody else and nothing piles up. Written
by the training's thread, read by the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from scenerep.events import Evaluated, Event, Step
from scenerep.io.ply import PlyOptions, write
from scenerep.scenes import Gaussians
from scenerep.viewer.splats import heaviest

_MOST_POINTS = 2000  # of the loss curve: a screen has no more columns
_STATE_SECONDS = 0.25
_MESSAGE_BYTES = 4096  # the page has little to say


@dataclass
class _Page:
    """A page that watches."""

    socket: web.WebSocketResponse
    ready: bool = False
    version: int = 0  # of the scene that is under way to it
    shown: int = 0  # of the scene that it draws, as it is ready for another
    busy: bool = False  # the state before is still on its way

    async def send_state(self, text: str) -> None:
        if self.busy:
            return  # the next one tells the same and more
        self.busy = True
        try:
            await _send(self.socket.send_str(text))
        finally:
            self.busy = False

    async def send_scene(self, note: str, data: bytes) -> None:
        await _send(self.socket.send_str(note))
        await _send(self.socket.send_bytes(data))


async def _send(work: Coroutine[Any, Any, None]) -> None:
    """A page that has gone away in the meantime is no error; `connect` takes it off the list."""
    with contextlib.suppress(ConnectionError):
        await work


class LiveFeed:
    """The state of one training and the pages that watch it.

    Args:
        on_pause: Called with the new value when a page changes it.
        most: A scene that is sent has at most so many Gaussians.
    """

    def __init__(self, on_pause: Callable[[bool], None], *, most: int) -> None:
        self._on_pause = on_pause
        self._most = most
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pages: list[_Page] = []  # of the server's thread
        self._lock = threading.Lock()
        self._ready = self._behind = 0  # pages that are ready for a scene; that do not draw the last one
        numbers = ("step", "loss", "count", "progress", "seconds", "seconds_left", "psnr", "ssim")
        self._state: dict[str, Any] = {**dict.fromkeys(numbers), "paused": False, "finished": False}
        self._losses: list[tuple[int, float]] = []
        self._every = 1  # a point of the curve stands for so many steps
        self._scene: tuple[str, bytes] | None = None
        self._version = 0
        self._told = 0.0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The server's loop, in which `connect` is called."""
        self._loop = loop

    # What the training's thread calls.

    @property
    def wants_scene(self) -> bool:
        """Whether some page waits for a scene."""
        with self._lock:
            return self._ready > 0

    def tell(self, event: Event) -> None:
        """Pass on the numbers of a step or an evaluation; others are ignored."""
        with self._lock:
            if isinstance(event, Step):
                for key in ("step", "loss", "count", "progress", "seconds", "seconds_left"):
                    self._state[key] = getattr(event, key)
                self._add_loss(event.step, event.loss)
                if time.monotonic() - self._told < _STATE_SECONDS:
                    return
            elif isinstance(event, Evaluated):
                self._state |= {"psnr": event.psnr, "ssim": event.ssim}
            else:
                return
            self._told = time.monotonic()
        self._run(self._send_state)

    def set(self, **values: bool) -> None:
        """`paused=`, `finished=`."""
        with self._lock:
            self._state |= values
        self._run(self._send_state)

    def show(self, scene: Gaussians, step: int) -> None:
        """Hand a scene to the pages that wait for one, and keep it for those that come."""
        chosen = scene.select(heaviest(scene, self._most))
        data = write(chosen, PlyOptions(all_bands=False))
        note = {"type": "scene", "step": step, "count": len(chosen), "total": len(scene), "bytes": len(data)}
        with self._lock:
            self._scene = (json.dumps(note), data)
            self._version += 1
            self._behind = len(self._pages)
        self._run(self._send_scene)

    def drain(self, seconds: float) -> None:
        """Wait until all pages draw the last scene, but no longer than this.

        Having its bytes is not enough: a page may still have to load its decoder from this server.
        """
        end = time.monotonic() + seconds
        while self._behind and time.monotonic() < end:
            time.sleep(0.02)

    # What the server's thread does.

    async def connect(
        self, request: web.Request, harden: Callable[[web.Request, web.StreamResponse], None]
    ) -> web.StreamResponse:
        """Serves one page until it goes away."""
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=_MESSAGE_BYTES)
        if not socket.can_prepare(request).ok:
            raise web.HTTPBadRequest
        harden(request, socket)
        await socket.prepare(request)
        page = _Page(socket)
        self._pages.append(page)
        try:
            with self._lock:
                losses = {"type": "losses", "points": list(self._losses)}
            await _send(socket.send_str(json.dumps(losses)))
            await page.send_state(self._state_text())
            async for message in socket:
                if message.type != WSMsgType.TEXT or not await self._hear(page, message.data):
                    await socket.close(code=WSCloseCode.INVALID_TEXT)
        finally:
            self._pages.remove(page)
            self._count()
        return socket

    async def close(self) -> None:
        """Say goodbye to all pages."""
        await asyncio.gather(*(page.socket.close(code=WSCloseCode.GOING_AWAY) for page in self._pages))

    async def _hear(self, page: _Page, text: str) -> bool:
        """Does what a page asks for; False if it makes no sense."""
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        if kind == "ready":
            page.ready, page.shown = True, page.version
            self._count()
            await self._send_scene()
        elif kind == "pause" and isinstance(message.get("value"), bool):
            self._on_pause(message["value"])
        else:
            return False
        return True

    async def _send_state(self) -> None:
        text = self._state_text()
        await asyncio.gather(*(page.send_state(text) for page in self._pages))

    async def _send_scene(self) -> None:
        """To all pages that are ready and have not got this one yet."""
        with self._lock:
            scene, version = self._scene, self._version
        waiting = [page for page in self._pages if page.ready and page.version < version]
        if scene is None or not waiting:
            return
        for page in waiting:
            page.ready, page.version = False, version
        self._count()
        await asyncio.gather(*(page.send_scene(*scene) for page in waiting))

    def _state_text(self) -> str:
        with self._lock:
            return json.dumps({"type": "state", **self._state})

    def _count(self) -> None:
        with self._lock:
            self._behind = sum(page.shown < self._version for page in self._pages)
            self._ready = sum(page.ready for page in self._pages)

    def _run(self, work: Callable[[], Any]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(work(), self._loop)

    def _add_loss(self, step: int, loss: float) -> None:
        if step % self._every:
            return
        self._losses.append((step, round(loss, 6)))
        if len(self._losses) > _MOST_POINTS:
            del self._losses[1::2]
            self._every *= 2
