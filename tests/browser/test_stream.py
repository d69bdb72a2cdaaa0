"""Byte sources of the page, against servers that are slow, break off, have no ranges or change their files."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from unsteady_server import Faults, UnsteadyServer

from scenerep.viewer.serve import WEB

if TYPE_CHECKING:
    from playwright.sync_api import Page

DATA = random.Random(0).randbytes(300_000)

# What a browser logs by itself when a request fails.
_NETWORK = "^Failed to load resource"
_PRELUDE = """
  const { urlSource, bufferSource, fileSource, SourceError } = await import("/load/source.js");
  const digest = async (bytes) =>
    [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))]
      .map((b) => b.toString(16).padStart(2, "0")).join("");
  const failure = async (promise) => {
    try { await promise; return null; } catch (error) {
      return { message: error.message, hint: error.hint, status: error.status, ours: error instanceof SourceError };
    }
  };
"""


@pytest.fixture
def server() -> Iterator[UnsteadyServer]:
    running = UnsteadyServer(WEB)
    yield running
    running.stop()


@pytest.fixture
def blank(page: Page, server: UnsteadyServer) -> Page:
    page.goto(f"{server.url}/blank.html")
    return page


def run(page: Page, body: str, **values: Any) -> Any:
    """What an async function with this body returns; `values` are its arguments."""
    return page.evaluate(f"async ({{ {', '.join(values)} }}) => {{ {_PRELUDE} {body} }}", values)


# Reads everything, from the back to the front, and tells what happened.
_READ_ALL = """
  const progress = [];
  let retries = 0;
  const source = await urlSource(url, { onProgress: (p) => progress.push(p.received), onRetry: () => retries++ });
  const whole = new Uint8Array(size);
  for (const [from, to] of [[200000, size], [100, 200000], [0, 100]]) {
    whole.set(await source.read(from, to - from), from);
  }
  const beyond = (await source.read(size - 5, 100)).length;
  source.close();
  return { size: source.size, ranged: source.ranged, received: source.received, name: source.name, beyond, retries,
    growing: progress.every((x, i) => i === 0 || x >= progress[i - 1]), sha: await digest(whole) };
"""


@pytest.mark.parametrize(
    ("faults", "ranged", "retries"),
    [
        (Faults(DATA), True, 0),
        (Faults(DATA, etag=None), True, 0),
        (Faults(DATA, etag='W/"weak"'), True, 0),
        (Faults(DATA, break_after=[30_000, 1000, 0, 70_000]), True, 4),
        (Faults(DATA, refuse=[503, 429]), True, 2),
        (Faults(DATA, ranges=False), False, 0),
        (Faults(DATA, ranges=False, length=False), False, 0),
        (Faults(DATA, ranges=False, break_after=[30_000, 100_000]), False, 2),
    ],
    ids=["ranges", "no-etag", "weak-etag", "broken", "refused", "no-ranges", "no-length", "broken-stream"],
)
def test_all_bytes_come(
    blank: Page, server: UnsteadyServer, faults: Faults, ranged: bool, retries: int, tolerated: list[str]
) -> None:
    if retries:
        tolerated.append(_NETWORK)
    server.faults["a.srz"] = faults
    got = run(blank, _READ_ALL, url=f"{server.url}/unsteady/a.srz", size=len(DATA))
    # A browser takes up some broken connections by itself.
    assert min(1, retries) <= got.pop("retries") <= retries
    assert got.pop("growing") and got.pop("beyond") == 5
    received = got.pop("received")
    assert got == {
        "size": len(DATA),
        "ranged": ranged,
        "name": "a.srz",
        "sha": hashlib.sha256(DATA).hexdigest(),
    }
    if not ranged:
        assert received == len(DATA)
        # One GET for each connection that broke, and no more.
        assert len(faults.asked) <= 1 + retries
    else:
        assert received == len(DATA) + 5  # what lies in the first block is not fetched again


def test_a_broken_range_goes_on_where_it_broke(blank: Page, server: UnsteadyServer, tolerated: list[str]) -> None:
    tolerated.append(_NETWORK)
    # Slow, as a browser throws away what it has not handed out when a connection breaks.
    faults = server.faults["a"] = Faults(DATA, break_after=[40_000], bytes_a_second=200_000)
    got = run(
        blank,
        "return await digest(await (await urlSource(url)).read(0, 65536));",
        url=f"{server.url}/unsteady/a",
    )
    assert got == hashlib.sha256(DATA[:65_536]).hexdigest()
    first, second = faults.asked
    assert first == "bytes=0-65535" and second.endswith("-65535")
    assert 20_000 < int(second[len("bytes=") : -len("-65535")]) <= 40_000


def test_bytes_of_a_stream_are_handed_out_as_they_come(blank: Page, server: UnsteadyServer) -> None:
    server.faults["a"] = Faults(DATA, ranges=False, bytes_a_second=600_000)
    got = run(
        blank,
        """const source = await urlSource(url);
        const first = await source.read(1000, 1000);
        const early = source.received;
        const last = await source.read(299000, 1000);
        return { early, late: source.received, first: await digest(first), last: await digest(last) };""",
        url=f"{server.url}/unsteady/a",
    )
    assert got["early"] < len(DATA) // 2 and got["late"] == len(DATA)
    assert got["first"] == hashlib.sha256(DATA[1000:2000]).hexdigest()
    assert got["last"] == hashlib.sha256(DATA[299_000:]).hexdigest()


@pytest.mark.parametrize("ranges", [True, False])
def test_sizes_at_the_edges(blank: Page, server: UnsteadyServer, ranges: bool, tolerated: list[str]) -> None:
    tolerated.append(_NETWORK + ".* 416")  # the first byte of an empty file
    sizes = [0, 1, 65_535, 65_536, 65_537]
    server.faults |= {str(size): Faults(DATA[:size], ranges=ranges) for size in sizes}
    got = run(
        blank,
        """const out = [];
        for (const size of sizes) {
          const source = await urlSource(`${url}/${size}`);
          const bytes = await source.read(0, Number.MAX_SAFE_INTEGER);
          out.push([source.size, source.received, await digest(bytes), (await source.read(size + 10, 5)).length]);
        }
        return out;""",
        url=f"{server.url}/unsteady",
        sizes=sizes,
    )
    assert got == [[size, size, hashlib.sha256(DATA[:size]).hexdigest(), 0] for size in sizes]


@pytest.mark.parametrize(
    "faults",
    [
        Faults(DATA, change_after=1),
        Faults(DATA, change_after=1, break_after=[1000]),
        Faults(DATA, ranges=False, change_after=1, break_after=[1000]),
        Faults(DATA, wrong_range=True),
    ],
    ids=["between", "within", "stream", "wrong-range"],
)
def test_two_versions_are_never_mixed(
    blank: Page, server: UnsteadyServer, faults: Faults, tolerated: list[str]
) -> None:
    if faults.break_after:
        tolerated.append(_NETWORK)
    server.faults["a"] = faults
    found = run(
        blank,
        """const readAll = async (source) => { await source.read(70000, 1000); await source.read(0, 300000); };
        return await failure(urlSource(url).then(readAll));""",
        url=f"{server.url}/unsteady/a",
    )
    assert found["ours"] and "was changed" in found["message"] and found["hint"] == "reload the page"


def test_errors_say_what_to_do(blank: Page, server: UnsteadyServer, tolerated: list[str]) -> None:
    tolerated.append(_NETWORK)
    server.faults["gone"] = Faults(DATA, refuse=[404])
    found = run(blank, "return await failure(urlSource(url));", url=f"{server.url}/unsteady/gone")
    assert found["ours"] and found["status"] == 404
    assert found["message"].startswith("gone: the server answers 404") and "address" in found["hint"]


def test_aborting_ends_reads_that_wait(blank: Page, server: UnsteadyServer) -> None:
    faults = server.faults["a"] = Faults(DATA, ranges=False, bytes_a_second=100_000)
    found = run(
        blank,
        """const stop = new AbortController();
        const source = await urlSource(url, { signal: stop.signal });
        const waiting = failure(source.read(250000, 1000));
        stop.abort();
        const late = failure(urlSource(url, { signal: stop.signal }));
        return [await waiting, await failure(source.read(299999, 1)), await late];""",
        url=f"{server.url}/unsteady/a",
    )
    assert all(one["ours"] and "stopped" in one["message"] for one in found)
    assert len(faults.asked) == 1


def test_closing_ends_retries(blank: Page, server: UnsteadyServer, tolerated: list[str]) -> None:
    tolerated.append(_NETWORK)
    faults = server.faults["a"] = Faults(DATA, break_after=[70_000] + [0] * 50)
    found = run(
        blank,
        """const source = await urlSource(url, { onRetry: () => source.close() });
        return await failure(source.read(70000, 1000));""",
        url=f"{server.url}/unsteady/a",
    )
    assert found["ours"] and len(faults.asked) == 2


def test_files_and_buffers(blank: Page) -> None:
    got = run(
        blank,
        """const bytes = new Uint8Array(1000).map((_, i) => i);
        const out = [];
        for (const source of [fileSource(new File([bytes], "a.ply")), bufferSource("b.ply", bytes.buffer)]) {
          const part = await source.read(990, 100);
          const refused = await failure(source.read(-1, 5));
          out.push([source.name, source.size, [...part], source.received > 0, refused.ours]);
        }
        return out;""",
    )
    tail = [i % 256 for i in range(990, 1000)]
    assert got == [["a.ply", 1000, tail, True, True], ["b.ply", 1000, tail, True, True]]
