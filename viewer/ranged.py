"""A file as an answer to GET: whole or one range of it, with an ETag that tells one version of the file from the next.

aiohttp's FileResponse would do, but it ignores an ETag in If-Range, and it sends `scene.ply.gz` in place of `scene.ply`
where that happens to lie beside it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

_PIECE = 1 << 18


async def send_file(
    request: web.Request,
    file: Path,
    content_type: str,
    *,
    harden: Callable[[web.Request, web.StreamResponse], None],
) -> web.StreamResponse:
    """Answers a GET or HEAD with the bytes of `file`; 404 if it is gone, 416 for a range outside of it."""
    try:
        opened = await asyncio.to_thread(file.open, "rb")
    except OSError as error:
        raise web.HTTPNotFound from error
    with opened:
        return await _send(request, opened, content_type, harden)


async def _send(
    request: web.Request,
    file: BinaryIO,
    content_type: str,
    harden: Callable[[web.Request, web.StreamResponse], None],
) -> web.StreamResponse:
    size = file.seek(0, 2)
    etag = f'"{_stamp(file):x}-{size:x}"'
    # no-cache: a browser may keep the file but asks each time whether it is still the same.
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "no-cache", "Content-Type": content_type}
    known = request.headers.get("If-None-Match", "")
    if known == "*" or etag in (part.strip().removeprefix("W/") for part in known.split(",")):
        return web.Response(status=304, headers=headers)
    start, stop, status = 0, size, 200
    if "Range" in request.headers and request.headers.get("If-Range", etag) == etag:
        try:
            wanted = request.http_range
        except ValueError:  # several ranges, or none that can be read: a server may then send everything
            wanted = slice(None)
        if wanted != slice(None):
            start, stop, _ = slice(wanted.start, wanted.stop).indices(size)
            if start >= stop:
                return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    answer = web.StreamResponse(status=status, headers=headers)
    answer.content_length = stop - start
    harden(request, answer)
    await answer.prepare(request)
    if request.method == "HEAD":
        return answer
    file.seek(start)
    while start < stop:
        piece = await asyncio.to_thread(file.read, min(_PIECE, stop - start))
        if not piece:  # cut off while it is sent: the length was promised, so the connection has to break
            raise ConnectionResetError
        await answer.write(piece)
        start += len(piece)
    await answer.write_eof()
    return answer


def _stamp(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_mtime_ns
