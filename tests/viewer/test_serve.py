"""The page's server: what it hands out, ranges and versions, and whom it refuses."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import pytest
from own_loop import run_in_own_loop
from PIL import Image
from rendered_capture import photograph_scene, ring, small_scene

from scenerep.errors import DeviceError
from scenerep.io.scene_files import read_scene, write_scene
from scenerep.viewer import PageServer, Surroundings, offer_scene
from scenerep.viewer.guard import is_loopback
from scenerep.viewer.live_feed import LiveFeed
from scenerep.viewer.serve import page_modules


@pytest.fixture
def scene_file(tmp_path: Path) -> Path:
    write_scene(small_scene(50), tmp_path / "secret-folder" / "blobs.srz")
    return tmp_path / "secret-folder" / "blobs.srz"


@pytest.fixture
def server(scene_file: Path, tmp_path: Path) -> Iterator[PageServer]:
    feed = LiveFeed(lambda value: None, most=100)
    folder = tmp_path / "converted"
    folder.mkdir()
    running = PageServer([offer_scene(scene_file, read_scene(scene_file), folder)], port=0, live=feed)
    yield running
    running.stop()


def ask(
    server: PageServer, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers with lower-case names, and body; the path goes out as it stands, dots and all."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": f"localhost:{server.port}", **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def described(server: PageServer) -> dict:
    status, headers, body = ask(server, "/scenes.json")
    assert status == 200 and headers["cache-control"] == "no-store"
    return json.loads(body)


def test_scenes_are_listed_without_their_paths(server: PageServer, scene_file: Path) -> None:
    told = described(server)
    (entry,) = told["scenes"]
    assert entry["name"] == "blobs.srz" and entry["format"] == "srz" and entry["count"] == 50
    assert entry["bytes"] == scene_file.stat().st_size and told["live"] is True
    assert "secret-folder" not in json.dumps(told)
    status, headers, body = ask(server, "/" + entry["url"])
    assert status == 200 and body == scene_file.read_bytes()
    assert headers["content-type"] == "application/octet-stream"


def test_modules_are_served_with_their_types(server: PageServer) -> None:
    assert "load/source.js" in page_modules()
    for name, (file, kind) in page_modules().items():
        status, headers, body = ask(server, f"/{name}")
        assert (status, headers["content-type"], body) == (200, kind, file.read_bytes())


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=10-", 10, None), ("bytes=-7", -7, None), ("bytes=5-99999999", 5, None)],
)
def test_ranges(server: PageServer, scene_file: Path, wanted: str, start: int, stop: int | None) -> None:
    data = scene_file.read_bytes()
    status, headers, body = ask(server, "/" + described(server)["scenes"][0]["url"], {"Range": wanted})
    assert status == 206 and body == data[start:stop]
    first = start % len(data)
    assert headers["content-range"] == f"bytes {first}-{first + len(body) - 1}/{len(data)}"


def test_odd_ranges(server: PageServer, scene_file: Path) -> None:
    url, data = "/" + described(server)["scenes"][0]["url"], scene_file.read_bytes()
    status, headers, _ = ask(server, url, {"Range": f"bytes={len(data)}-"})
    assert status == 416 and headers["content-range"] == f"bytes */{len(data)}"
    for wanted in ("bytes=9-3", "bytes=0-1,4-5", "lines=1-2", "bytes=x"):
        status, _, body = ask(server, url, {"Range": wanted})
        assert status == 200 and body == data
    status, headers, body = ask(server, url, {}, "HEAD")
    assert status == 200 and int(headers["content-length"]) == len(data) and body == b""


def test_etag_tells_versions_apart(server: PageServer, scene_file: Path) -> None:
    url = "/" + described(server)["scenes"][0]["url"]
    _, headers, _ = ask(server, url)
    etag = headers["etag"]
    assert ask(server, url, {"If-None-Match": etag})[0] == 304
    assert ask(server, url, {"Range": "bytes=0-9", "If-Range": etag})[0] == 206
    data = scene_file.read_bytes()
    scene_file.write_bytes(data)
    os.utime(scene_file, ns=(1, 1))
    status, headers, body = ask(server, url, {"Range": "bytes=0-9", "If-Range": etag})
    assert status == 200 and body == data and headers["etag"] != etag
    scene_file.unlink()
    assert ask(server, url)[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/../guard.py",
        "/..%2fguard.py",
        "/%2e%2e/guard.py",
        "/load/../../guard.py",
        "//etc/passwd",
        "/scene/../../../etc/passwd",
        "/scene/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/scene/",
        "/scene/blobs.srz",
        "/photo/0",
        "/photo/-1",
        "/load",
        "/load/",
        "/load/source.js/",
        "/%00",
        "/nothing",
    ],
)
def test_other_paths_lead_nowhere(server: PageServer, path: str) -> None:
    status, headers, body = ask(server, path)
    assert status in (400, 404), body
    if status == 404:
        assert headers["x-content-type-options"] == "nosniff"
    assert b"root:" not in body and b"class Guard" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_get_and_head(server: PageServer, method: str) -> None:
    status, headers, _ = ask(server, "/scenes.json", {"Content-Length": "0"}, method)
    assert status == 405 and headers["allow"] == "GET, HEAD"


def test_foreign_hosts_are_refused(server: PageServer) -> None:
    port = server.port
    for host in (
        "evil.example",
        f"evil.example:{port}",
        f"localhost:{port + 1}",
        "localhost",
        f"localhost.evil.example:{port}",
    ):
        assert ask(server, "/scenes.json", {"Host": host})[0] == 403, host
    for host in (f"127.0.0.1:{port}", f"[::1]:{port}", f"LOCALHOST:{port}"):
        assert ask(server, "/scenes.json", {"Host": host})[0] == 200, host


def test_foreign_origins_are_refused(server: PageServer) -> None:
    for origin in ("http://evil.example", "null", f"https://localhost:{server.port}", "http://localhost"):
        assert ask(server, "/scenes.json", {"Origin": origin})[0] == 403, origin
    status, headers, _ = ask(server, "/scenes.json", {"Origin": f"http://localhost:{server.port}"})
    assert status == 200
    assert not [name for name in headers if name.startswith("access-control")]


def test_headers_forbid_what_the_page_does_not_need(server: PageServer) -> None:
    for path in ("/scenes.json", "/load/source.js", "/" + described(server)["scenes"][0]["url"], "/nothing"):
        _, headers, _ = ask(server, path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["base-uri"] == "'none'" and policy["script-src"] == "'self'"
        assert policy["connect-src"] == f"'self' ws://localhost:{server.port}"


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
def test_websocket_needs_its_own_origin(server: PageServer, origin: str | None) -> None:
    async def connect(given: str | None) -> None:
        async with aiohttp.ClientSession() as session:
            address = f"http://localhost:{server.port}/live"
            async with session.ws_connect(address, origin=given) as page:
                assert (await page.receive_json())["type"] == "losses"

    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        run_in_own_loop(connect(origin))
    assert caught.value.status == 403
    run_in_own_loop(connect(f"http://localhost:{server.port}"))


def test_listens_on_loopback_only(server: PageServer) -> None:
    if shutil.which("ss") is None:
        pytest.skip("needs ss, of Debian's iproute2")
    lines = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line.split()[3] for line in lines if line.split()[3].endswith(f":{server.port}")]
    assert ours == [f"127.0.0.1:{server.port}"]


def test_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(DeviceError, match=f"port {port} on this machine") as caught:
            PageServer(port=port)
        assert "--port" in caught.value.hint
    with pytest.raises(DeviceError):
        PageServer(port=99999)


def test_a_link_is_followed_once(tmp_path: Path, scene_file: Path) -> None:
    """What a symbolic link points to later is none of the server's business."""
    link, other = tmp_path / "latest.srz", tmp_path / "other"
    link.symlink_to(scene_file)
    other.write_text("a secret")
    server = PageServer([offer_scene(link, read_scene(link), tmp_path)], port=0)
    try:
        link.unlink()
        link.symlink_to(other)
        assert ask(server, "/" + described(server)["scenes"][0]["url"])[2] == scene_file.read_bytes()
    finally:
        server.stop()


def test_other_addresses_need_the_token() -> None:
    server = PageServer(port=0, host="0.0.0.0")
    try:
        own = f"127.0.0.1:{server.port}"
        token = urlsplit(server.url).query
        assert token.startswith("token=") and len(token) > 20
        for path in (
            "/",
            "/scenes.json",
            "/load/source.js",
            "/?token=",
            "/?token=" + "A" * 22,
            f"/scenes.json?{token}",
        ):
            assert ask(server, path, {"Host": own})[0] == 403, path
        # Browsers ask for the icon of a refusal too, before or after they have the cookie.
        for path in ("/icon.svg", "/favicon.ico"):
            status, headers, _ = ask(server, path, {"Host": own})
            assert (status, headers["content-type"]) == (200, "image/svg+xml"), path
            assert ask(server, path, {"Host": "evil.example"})[0] == 403
        status, headers, _ = ask(server, f"/?scene=x&{token}", {"Host": own})
        assert status == 303 and headers["location"] == "/?scene=x"
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        with_cookie = {"Host": own, "Cookie": cookie.split(";")[0]}
        assert ask(server, "/scenes.json", with_cookie)[0] == 200
        # A name that is not this machine's can be made to lead here by somebody else; an address cannot.
        assert ask(server, "/scenes.json", {**with_cookie, "Host": f"evil.example:{server.port}"})[0] == 403
        assert ask(server, "/scenes.json", {**with_cookie, "Host": f"192.0.2.7:{server.port}"})[0] == 200
    finally:
        server.stop()


def test_loopback_addresses() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.1.2.3")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org", "")))


def test_what_the_page_cannot_read_is_sent_as_ply(tmp_path: Path) -> None:
    scene = small_scene(20, degree=2)
    for name in ("a.ply", "a.glb"):
        write_scene(scene, tmp_path / name)
    folder = tmp_path / "converted"
    folder.mkdir()
    kept = offer_scene(tmp_path / "a.ply", read_scene(tmp_path / "a.ply"), folder)
    assert kept.file == (tmp_path / "a.ply").resolve() and kept.format == "ply"
    made = offer_scene(tmp_path / "a.glb", read_scene(tmp_path / "a.glb"), folder)
    assert (made.name, made.format, made.file.parent) == ("a.glb", "ply", folder.resolve())
    back = read_scene(made.file)
    assert back.sh_degree == 2
    np.testing.assert_array_equal(back.means, read_scene(tmp_path / "a.glb").means)
    text = tmp_path / "text.ply"
    text.write_bytes((tmp_path / "a.ply").read_bytes().replace(b"binary_little_endian", b"ascii", 1))
    marked = small_scene(20)
    marked.metadata["format"] = "ply"
    assert offer_scene(text, marked, folder).file.parent == folder.resolve()


@pytest.mark.parametrize("alpha", [False, True])
def test_cameras_and_photographs(tmp_path: Path, alpha: bool) -> None:
    capture = photograph_scene(tmp_path / "capture", small_scene(), ring(8), alpha=alpha)
    white = (1.0, 1.0, 1.0)
    server = PageServer((), Surroundings("a title", white, capture), port=0)
    try:
        told = described(server)
        assert told["title"] == "a title" and told["background"] == [1, 1, 1] and told["scenes"] == []
        np.testing.assert_allclose(told["up"], [0, -1, 0], atol=0.02)
        assert len(told["cameras"]) == 8 and told["cameras"][told["start"]]["split"] == "train"
        for i, entry in enumerate(told["cameras"]):
            camera = capture.camera(i)
            assert (entry["name"], entry["split"]) == (capture.views[i].name, capture.views[i].split)
            np.testing.assert_allclose(entry["world_from_camera"], camera.world_from_camera[:3], atol=1e-5)
            assert (entry["width"], entry["height"], entry["fx"]) == (camera.width, camera.height, camera.fx)
        status, headers, body = ask(server, "/" + told["cameras"][3]["photo"])
        assert status == 200 and headers["content-type"] == "image/png"
        (tmp_path / "photo.png").write_bytes(body)
        picture = np.asarray(Image.open(tmp_path / "photo.png"), np.float64)
        want = capture.image(3).astype(np.float64)
        if alpha:
            want = want[..., :3] * want[..., 3:] / 255 + 255 - want[..., 3:]
        np.testing.assert_allclose(picture, want, atol=0.51)
        status, headers, body = ask(server, "/photo/3?w=20")
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        small = Image.open(io.BytesIO(body))
        assert small.size == (min(160, capture.camera(3).width), picture.shape[0] * small.width // picture.shape[1])
        assert ask(server, "/photo/3?w=150")[2] == body
        for path in ("/photo/8", "/photo/8?w=20", "/photo/3?w=x", "/photo/3?w=-1", "/photo/3?w=123456789"):
            assert ask(server, path)[0] == 404, path
    finally:
        server.stop()
