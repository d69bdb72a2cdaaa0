"""A file server with faults to order: no ranges, slow, connections that break, versions that change, passing errors."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from file_server import FileHandler, FileServer, content_type


@dataclass
class Faults:
    """What goes wrong with one address, and what was asked of it."""

    data: bytes
    ranges: bool = True
    etag: str | None = '"1"'
    length: bool = True
    """Say how long the answer is; without, its end is that of the connection."""
    break_after: list[int] = field(default_factory=list)
    """Each number breaks the next connection after so many bytes of the body."""
    refuse: list[int] = field(default_factory=list)
    """Each status answers the next request in place of the data."""
    bytes_a_second: float | None = None
    change_after: int | None = None
    """From this request on, the file is another one."""
    wrong_range: bool = False
    """Answer a range with bytes from the front."""
    limit: int | None = None
    """What stands from this byte of the file on is held back until the limit is raised."""
    asked: list[str] = field(default_factory=list)
    """The Range header of each request so far; empty without."""
    sent: int = 0
    """Bytes of bodies so far."""


class UnsteadyServer:
    """Serves pages below `root` as they are, and `faults[name]` at `/unsteady/name`; on 127.0.0.1, a free port."""

    def __init__(self, root: Path) -> None:
        self.faults: dict[str, Faults] = {}
        unsteady = self

        class Handler(FileHandler):
            def do_GET(self) -> None:
                if self.send_common():
                    return
                if self.path.startswith("/unsteady/"):
                    unsteady._serve(self, unsteady.faults[self.path.rpartition("/")[2]])
                    return
                file = root / self.path.partition("?")[0].lstrip("/")
                if file.is_file() and ".." not in self.path:
                    self.send_data(file.read_bytes(), content_type(file))
                else:
                    self.send_error(404)

        self._server = FileServer(Handler)
        self.url, self.stop = self._server.url, self._server.stop

    def _serve(self, request: BaseHTTPRequestHandler, faults: Faults) -> None:
        wanted = request.headers.get("Range", "")
        faults.asked.append(wanted)
        if faults.refuse:
            request.send_response(faults.refuse.pop(0))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        data, etag = faults.data, faults.etag
        if faults.change_after is not None and len(faults.asked) > faults.change_after:
            data, etag = bytes(reversed(data)) + b"!", '"2"'
        start, stop, status = 0, len(data), 200
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
        if faults.ranges and match and request.headers.get("If-Range", etag) == etag:
            start, stop, status = int(match[1]), min(int(match[2]) + 1, len(data)), 206
            if start >= len(data):
                status, stop = 416, start
            elif faults.wrong_range:
                start, stop = 0, stop - start
        request.send_response(status)
        if etag is not None:
            request.send_header("ETag", etag)
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        if faults.length:
            request.send_header("Content-Length", str(stop - start))
        else:
            request.send_header("Connection", "close")
            request.close_connection = True
        request.end_headers()
        limit = faults.break_after.pop(0) if faults.break_after else None
        body = data[start:stop] if limit is None else data[start : min(stop, start + limit)]
        try:
            at = 0
            while at < len(body):
                free = 4096 if faults.limit is None else min(4096, faults.limit - start - at)
                if free <= 0:
                    request.wfile.flush()
                    time.sleep(0.01)
                    continue
                piece = body[at : at + free]
                request.wfile.write(piece)
                at += len(piece)
                faults.sent += len(piece)
                if faults.bytes_a_second:
                    time.sleep(len(piece) / faults.bytes_a_second)
            request.wfile.flush()
        except ConnectionError:
            request.close_connection = True
        if limit is not None and len(body) < stop - start:
            request.close_connection = True
