"""The plainest server of pages and files: what the servers of these tests have in common."""

from __future__ import annotations

import mimetypes
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_BLANK = b"<!doctype html><title>blank</title><link rel=icon href=data:,>"
_TYPES = {".js": "text/javascript", ".html": "text/html", ".css": "text/css", ".svg": "image/svg+xml"}


class FileHandler(BaseHTTPRequestHandler):
    """Answers with the bytes that are given, `/blank.html`, and no icon where a page names none."""

    protocol_version = "HTTP/1.1"

    def send_common(self) -> bool:
        """Answers what every such server has; whether this was one of those."""
        if self.path == "/blank.html":
            self.send_data(_BLANK, "text/html")
        elif self.path == "/favicon.ico":  # a 404 would be an error in the log of whatever page is open by then
            self.send_data(b"", "image/x-icon", 204)
        else:
            return False
        return True

    def send_data(self, data: bytes, kind: str, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


def content_type(file: Path) -> str:
    return _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"


class FileServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1, a free port, from the start; `url` has no slash at its end."""

    daemon_threads = True

    def __init__(self, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a browser that hangs up is no news
