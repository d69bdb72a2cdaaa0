"""Headless Chromium and a file server for tests of the viewer's pages; skipped without them, but not in CI."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from file_server import FileHandler, FileServer, content_type

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "viewer" / "web"

_COMMON = ("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking")
BACKENDS = {
    "llvmpipe": ("--use-gl=angle", "--use-angle=gl-egl", "--ignore-gpu-blocklist"),
    "swiftshader": ("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "webgpu": (
        "--use-vulkan=swiftshader",
        "--enable-features=Vulkan",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--enable-unsafe-webgpu",
        "--use-webgpu-adapter=swiftshader",
    ),
}
"""Flags for software rendering: Mesa (fast), SwiftShader, and SwiftShader with WebGPU."""


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing: scripts/test installs it")
    pytest.skip(f"{what} is missing: scripts/test installs it")


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[[str], Any]]:
    """`launch(backend)` gives a Chromium with one of `BACKENDS`; a second call gives the same one."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("the Python package playwright")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    executable = os.environ.get("SCENEREP_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        _missing("Chromium")
    with sync_playwright() as playwright:
        browsers: dict[str, Any] = {}

        def start(backend: str) -> Any:
            if backend not in browsers:
                flags = [*_COMMON, *BACKENDS[backend]]
                browsers[backend] = playwright.chromium.launch(executable_path=executable, args=flags)
            return browsers[backend]

        yield start
        for browser in browsers.values():
            browser.close()


@pytest.fixture(scope="session")
def chromium(launch: Callable[[str], Any]) -> Any:
    """The browser of most tests."""
    return launch("llvmpipe")


@dataclass(frozen=True)
class Site:
    """url: of the viewer's files; `url/tests/` are this folder's, `url/files/` those in the folder `files`."""

    url: str
    files: Path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    files = tmp_path_factory.mktemp("files")
    roots = {"tests": Path(__file__).parent, "files": files}

    class Handler(FileHandler):
        def do_GET(self) -> None:
            if self.send_common():
                return
            first, _, rest = unquote(self.path.partition("?")[0]).lstrip("/").partition("/")
            file = roots[first] / rest if first in roots else WEB / first / rest
            if not file.is_file() or ".." in self.path:
                self.send_error(404)
                return
            data, kind = file.read_bytes(), content_type(file)
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            headers = {"Accept-Ranges": "bytes"}
            if match is None:
                self.send_data(data, kind, 200, headers)
            elif (start := int(match[1])) >= len(data):
                self.send_data(b"", kind, 416, headers)
            else:
                part = data[start : int(match[2]) + 1 if match[2] else None]
                headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
                self.send_data(part, kind, 206, headers)

    server = FileServer(Handler)
    yield Site(server.url, files)
    server.stop()


@pytest.fixture
def tolerated() -> list[str]:
    """Regular expressions of the errors that a test means to cause; it appends them."""
    return []


@pytest.fixture
def page(chromium: Any, site: Site, tolerated: list[str]) -> Iterator[Any]:
    """An empty page of the site; the test fails if anything is logged as an error or escapes uncaught."""
    yield from watched_page(chromium, site, tolerated)


def watched_page(browser: Any, site: Site, tolerated: Sequence[str] = (), **options: Any) -> Iterator[Any]:
    """A page as the fixture `page` gives, of any browser; `options` are those of Playwright's `new_page`."""
    page = browser.new_page(**options)
    errors: list[str] = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{site.url}/blank.html")
    try:
        yield page
        errors = [error for error in errors if not any(re.search(pattern, error) for pattern in tolerated)]
        assert not errors, errors
    finally:
        page.close()
