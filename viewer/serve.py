"""The server of the page in viewer/web: its modules, the scenes that were named at the start, photographs.

A request never turns into a path: URLs are keys of tables that are made at the start. viewer/guard.py decides who may
ask at all. The server runs in a thread of its own, so that a training or a command goes on beside it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from scenerep.errors import DataError, DeviceError
from scenerep.viewer.guard import LOOPBACK, Guard, is_loopback
from scenerep.viewer.live_feed import LiveFeed
from scenerep.viewer.offer import Offer, Surroundings
from scenerep.viewer.photographs import Photographs
from scenerep.viewer.ranged import send_file

WEB = Path(__file__).resolve().parent / "web"
"""The page's modules."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
SUFFIXES = frozenset(_TYPES)
"""What the page consists of."""
_T = TypeVar("_T")


class PageServer:
    """A running server. `url` opens the page; `stop()` ends it.

    Args:
        offers: Scenes that may be fetched, the first of which the page shows; with two it compares them.
        surroundings: Cameras, photographs, background.
        port: TCP port; 0 takes a free one (see `.port`).
        host: Address to listen on. On any but this machine's own, `url` holds a token that others do not have.
        live: What a training has to tell.

    Raises:
        DeviceError: if the port is taken, or the address is none of this machine.
    """

    def __init__(
        self,
        offers: Sequence[Offer] = (),
        surroundings: Surroundings | None = None,
        *,
        port: int = 8080,
        host: str = LOOPBACK,
        live: LiveFeed | None = None,
    ) -> None:
        self._offers = {offer.id: offer for offer in offers}
        self._order = [offer.id for offer in offers]
        told = surroundings or Surroundings()
        self._photographs = Photographs(told)
        self._live = live
        self._described = told.describe()
        self._modules = page_modules()
        listener = _listen(host, port)
        self.port = int(listener.getsockname()[1])
        self._guard = Guard(host, self.port)
        self.url = f"http://{_shown_host(host)}:{self.port}"
        if self._guard.token is not None:
            self.url += f"/?token={self._guard.token}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="page server", daemon=True)
        self._thread.start()
        self._runner = self._call(self._start(listener))

    def stop(self) -> None:
        """Close all connections and free the port."""
        if self._loop.is_closed():
            return
        if self._live is not None:
            self._call(self._live.close())
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self, listener: socket.socket) -> web.AppRunner:
        app = web.Application(middlewares=[self._guard.middleware()])
        app.router.add_get("/scenes.json", self._scenes)
        app.router.add_get("/scene/{id}", self._scene)
        app.router.add_get("/photo/{id}", self._photograph)
        if self._live is not None:
            self._live.attach(self._loop)
            app.router.add_get("/live", self._watch)
        app.router.add_get("/{path:.*}", self._module)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        return runner

    async def _module(self, request: web.Request) -> web.StreamResponse:
        path = request.path.lstrip("/")
        # What browsers ask for on behalf of answers that are no page and name no icon.
        found = self._modules.get({"": "index.html", "favicon.ico": "icon.svg"}.get(path, path))
        if found is None:
            raise web.HTTPNotFound
        return await send_file(request, *found, harden=self._guard.harden)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        assert self._live is not None
        return await self._live.connect(request, self._guard.harden)

    async def _scenes(self, request: web.Request) -> web.StreamResponse:
        scenes = []
        for key in self._order:
            offer = self._offers[key]
            entry = {
                "id": key,
                "url": f"scene/{key}",
                "name": offer.name,
                "format": offer.format,
                "voxels": offer.voxels,
            }
            scenes.append({**entry, "count": offer.count, "bytes": offer.file.stat().st_size})
        told = {**self._described, "scenes": scenes, "live": self._live is not None}
        return web.Response(
            text=json.dumps(told), content_type="application/json", headers={"Cache-Control": "no-store"}
        )

    async def _scene(self, request: web.Request) -> web.StreamResponse:
        offer = self._offers.get(request.match_info["id"])
        if offer is None:
            raise web.HTTPNotFound
        return await send_file(request, offer.file, "application/octet-stream", harden=self._guard.harden)

    async def _photograph(self, request: web.Request) -> web.StreamResponse:
        number, width = request.match_info["id"], request.query.get("w", "")
        if not _is_number(number) or int(number) >= len(self._photographs) or (width and not _is_number(width)):
            raise web.HTTPNotFound
        try:
            if width:
                data = await asyncio.to_thread(self._photographs.small, int(number), int(width))
            else:
                data = await asyncio.to_thread(self._photographs.lossless, int(number))
        except DataError as error:
            raise web.HTTPNotFound from error
        kind = "image/jpeg" if width else "image/png"
        return web.Response(body=data, content_type=kind, headers={"Cache-Control": "private, max-age=3600"})


def _is_number(text: str) -> bool:
    """Whether a text from outside is a plain number. isascii: int() takes digits of all scripts."""
    return text.isascii() and text.isdigit() and len(text) < 8


def page_modules() -> dict[str, tuple[Path, str]]:
    """The page's files: relative URL to file and content type. What lies elsewhere through a link is left out."""
    found = {}
    for file in sorted(WEB.rglob("*")):
        kind = _TYPES.get(file.suffix)
        if kind is not None and file.is_file() and file.resolve().is_relative_to(WEB):
            found[file.relative_to(WEB).as_posix()] = (file.resolve(), kind)
    return found


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise DeviceError(f"port {port} does not exist", "choose one up to 65535 with --port")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        where = "this machine" if is_loopback(host) else host
        raise DeviceError(f"port {port} on {where} is not free: {error}", "choose another with --port") from error
    listener.setblocking(False)
    return listener


def _shown_host(host: str) -> str:
    """What to write into the address: a name that leads to `host`."""
    if is_loopback(host) and ":" not in host:
        return "localhost"
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
