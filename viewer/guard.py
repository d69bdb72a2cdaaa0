"""Who may talk to the server, and what it tells browsers to forbid.

The server listens on this machine, but every web page in a browser here can send it requests. So each one is checked:
Host against the names that were bound (DNS rebinding: a foreign name that resolves to 127.0.0.1), Origin of each
websocket (browsers do not stop those), the method, and, where other machines can connect, a token.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOOPBACK = "127.0.0.1"
_ICONS = frozenset({"/icon.svg", "/favicon.ico"})
"""Answered without a token: browsers ask for the icon of every page, also of a refusal, whenever they find the time."""
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Guard:
    """The checks of one server.

    Args:
        host: The address that is bound.
        port: Its port.

    Attributes:
        token: What the first address that a browser opens has to contain; None on loopback.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = port
        self.names = set(_LOCAL_NAMES)
        self.token: str | None = None
        self._any_address = False
        if not is_loopback(host):
            self.token = secrets.token_urlsafe(16)
            self._any_address = True
            self.names |= {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
        self._cookie = f"scenerep-{port}"  # cookies know no ports: two servers must not overwrite each other's

    def middleware(self) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
        """To be the outermost of the application's middlewares."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                answer = self._refusal(request) or await handler(request)
            except web.HTTPException as error:
                answer = web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")
            if not answer.prepared:  # a stream or a websocket has called `harden` itself
                self.harden(request, answer)
            return answer

        return check

    def harden(self, request: web.Request, answer: web.StreamResponse) -> None:
        """Puts the headers on an answer that make browsers keep the page to itself."""
        # 'self' does not cover websockets in every browser. The name was checked, or the answer is a refusal.
        live = f"ws://{request.host}" if self._host_is_ours(request) else ""
        answer.headers.update(
            {
                "Content-Security-Policy": f"{content_policy(live)}; frame-ancestors 'self'",
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Cross-Origin-Opener-Policy": "same-origin",
            }
        )

    def _refusal(self, request: web.Request) -> web.StreamResponse | None:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="405: only GET and HEAD\n", headers={"Allow": "GET, HEAD"})
        if not self._host_is_ours(request):
            return web.Response(status=403, text="403: this server has another name\n")
        origin = request.headers.get("Origin")
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        # Pages of other origins are refused everything, not only what the browser would keep from them anyway.
        if (is_socket or origin is not None) and origin != f"http://{request.host}":
            return web.Response(status=403, text="403: pages of other origins may not connect\n")
        return self._check_token(request)

    def _check_token(self, request: web.Request) -> web.StreamResponse | None:
        if self.token is None or request.path in _ICONS or _same(request.cookies.get(self._cookie), self.token):
            return None
        if request.path == "/" and _same(request.query.get("token"), self.token):
            # The token leaves the address bar, where it would be copied along with a link.
            rest = {key: value for key, value in request.query.items() if key != "token"}
            answer = web.Response(status=303, headers={"Location": str(request.rel_url.with_query(rest))})
            answer.set_cookie(self._cookie, self.token, httponly=True, samesite="Strict")
            return answer
        return web.Response(status=403, text="403: open the address with ?token= that scenerep has printed\n")

    def _host_is_ours(self, request: web.Request) -> bool:
        name, _, port = request.host.rpartition(":") if not request.host.endswith("]") else (request.host, "", "")
        if not name:  # no port: the default one of http
            name, port = request.host, "80"
        if (port or "80") != str(self.port):
            return False
        return name.lower() in self.names or (self._any_address and _is_address(name))


def content_policy(connect: str = "") -> str:
    """What the page may load: its own modules and scenes, what it makes itself, and `connect`."""
    sources = " ".join(filter(None, ("'self'", connect)))
    return (
        "default-src 'none'; script-src 'self'; worker-src 'self' blob:; style-src 'self'; img-src 'self' blob: data:; "
        f"media-src blob:; connect-src {sources}; "
        "base-uri 'none'; form-action 'none'"
    )


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can connect to `host`, an address or `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    """Whether a Host header's name is an address: no foreign name can stand behind that."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _same(given: str | None, wanted: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), wanted.encode())
