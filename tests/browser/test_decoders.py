"""The browser's decoders against ours: integers by digest, numbers of every format, in Chromium."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Site, watched_page
from quantised_scenes import quantised_scene
from scene_cases import plain_scene
from test_anchored import anchored
from test_codebook_splats import part

from scenerep.coding import QuantisedSplats, decode_file, encode
from scenerep.coding.anchored import Layout, encode_anchored
from scenerep.coding.codebook_splats import encode_parts
from scenerep.coding.container import read_head
from scenerep.coding.quantised import ycocg_from_rgb
from scenerep.formats import FORMATS
from scenerep.io import spz
from scenerep.io.scene_files import read_scene, write_scene
from scenerep.scenes import Gaussians

GOLDEN = Path(__file__).resolve().parents[1] / "coding"
C0 = 0.28209479177387814


@pytest.fixture(scope="module")
def page(chromium: Any, site: Site) -> Iterator[Any]:
    """One page for all: its modules are loaded once."""
    yield from watched_page(chromium, site)


def call(page: Any, site: Site, function: str, name: str, *arguments: Any) -> Any:
    """A function of decoding.js, on the bytes of a file of the site."""
    return page.evaluate(
        """async ([url, name, call, rest]) => {
          const tests = await import(`${url}/tests/decoding.js`);
          return tests[call](await tests.fetched(`${url}/files/${name}`), name, ...rest);
        }""",
        [site.url, name, function, list(arguments)],
    )


def quantised(n: int, degree: int, layers: int, depth: int = 10, **changes: Any) -> QuantisedSplats:
    scene = quantised_scene(n, degree, layers, seed=n + degree, depth=depth)
    quantiser = replace(scene.quantiser, **changes)
    return replace(scene, quantiser=quantiser, antialiased=bool(changes))


def extreme() -> QuantisedSplats:
    """Integers up to their limits, in all components."""
    scene = quantised_scene(300, 3, 2, depth=20)
    rng = np.random.default_rng(3)

    def wild(array: np.ndarray) -> np.ndarray:
        size = 2 ** rng.integers(0, 24, array.shape)
        return np.clip(rng.choice([-1, 1], array.shape) * rng.integers(0, size + 1), 1 - 2**24, 2**24 - 1)

    arrays = {name: wild(array) for name, array in scene.arrays().items() if name not in ("positions", "sh")}
    some = rng.random((300, 1, 1)) < 0.5
    return replace(scene, **arrays, sh=wild(scene.sh) * some, positions=rng.integers(0, 2**20, (300, 3)))


KIND_1 = {
    **{f"degree {degree}, {layers} layers": quantised(400, degree, layers) for degree in range(4) for layers in (1, 3)},
    "16 layers": quantised(300, 1, 16),
    "nothing": quantised(0, 2, 1),
    "one": quantised(1, 3, 1),
    "two": quantised(2, 0, 2),
    "depth 1, many in a place": quantised(200, 1, 2, depth=1),
    "depth 20": quantised(300, 2, 2, depth=20),
    "contracted": quantised(300, 1, 2, origin=(-6.0, -6.0, -6.0), centre=(1.0, 2.0, 3.0), radius=2.0),
    "canonical": quantised(100, 1, 1, canonical=True),
    "two cells": replace(quantised(70_000, 0, 2), gains=()),
    "extreme": extreme(),
}
OTHER_KINDS = {
    "codebooks": encode_parts(
        [part(60, ("scale", "rotation", "dc", "sh1", "sh2", "sh3"), 1), part(40, ("colour2",), 2, optional=False)],
        3,
        {"up": [0, -1, 0]},
    ),
    "codebooks of degree 0": encode_parts([part(33, ("rotation",), 3)], 0, {}),
    "anchors": encode_anchored(anchored(40)),
    "anchors of degree 3": encode_anchored(anchored(20, Layout(coupled=2, width=7, entropy_width=9), seed=1)),
    "no anchors": encode_anchored(anchored(0)),
    **{name: (GOLDEN / f"{name}.srz").read_bytes() for name in ("golden", "golden_codebooks", "golden_anchors")},
}


@pytest.mark.parametrize("name", [*KIND_1, *OTHER_KINDS])
def test_integers_are_those_of_python(page: Any, site: Site, name: str) -> None:
    data = OTHER_KINDS[name] if name in OTHER_KINDS else encode(KIND_1[name])
    (site.files / "scene.srz").write_bytes(data)
    assert call(page, site, "digest", "scene.srz") == decode_file(data).digest


def numbers(found: dict[str, Any], name: str, kind: str = "<f4") -> np.ndarray:
    return np.frombuffer(base64.b64decode(found[name]), kind)


def assert_close(found: np.ndarray, expected: np.ndarray, ulps: int = 1, atol: float = 0.0) -> None:
    expected = np.asarray(expected, np.float32).ravel()
    assert found.shape == expected.shape
    np.testing.assert_array_less(np.abs(found - expected), ulps * np.spacing(np.abs(expected)) + atol + 1e-38)


def assert_scene(found: dict[str, Any], expected: Gaussians, ulps: int = 1, atol: float = 0.0) -> None:
    """Means, log scales and quaternions to `ulps`; what has been through another function to a few."""
    head = found["head"]
    assert found["error"] is None
    assert (head["degree"], head["antialiased"]) == (expected.sh_degree, expected.antialiased)
    assert found["count"] == found["result"] == len(expected)
    assert_close(numbers(found, "means"), expected.means, ulps, atol)
    assert_close(numbers(found, "logScales"), expected.log_scales, ulps, atol)
    # A component that is what is left of 1 loses digits where it is small.
    assert_close(numbers(found, "quats"), expected.quats, ulps, 4 * atol + 1e-7)
    opacity = 1 / (1 + np.exp(-expected.opacity_logits.astype(np.float64)))
    assert_close(numbers(found, "opacities"), opacity, atol=1e-6)
    assert_close(numbers(found, "colours"), 0.5 + C0 * expected.sh[:, 0].astype(np.float64), 2, 1e-6)
    if not expected.sh_degree or not len(expected):
        return
    assert head["shType"] in ("int8", "int16", "float32")
    kind = {"int8": "<i1", "int16": "<i2", "float32": "<f4"}[head["shType"]]
    steps = np.repeat(np.array(found["shSteps"]).reshape(-1, 2), [3, 5, 7][: expected.sh_degree], axis=0)
    rest = numbers(found, "sh", kind).astype(np.float64).reshape(len(expected), -1, 3)
    wanted = expected.sh[:, 1:]
    if head["shSpace"] == "ycocg":
        wanted = ycocg_from_rgb(wanted)
    np.testing.assert_allclose(rest * steps[:, [0, 1, 1]], wanted, rtol=1e-6, atol=1e-6 + atol)


@pytest.mark.parametrize("name", [name for name in KIND_1 if name != "extreme"])
def test_srz_is_loaded_layer_by_layer(page: Any, site: Site, name: str) -> None:
    q = KIND_1[name]
    data = encode(q)
    (site.files / "scene.srz").write_bytes(data)
    found = call(page, site, "opened", "scene.srz")
    scene = read_scene(site.files / "scene.srz")
    assert_scene(found, scene)
    head = found["head"]
    assert (head["format"], head["bytes"], head["layers"], head["count"]) == ("srz", len(data), q.layer_count, len(q))
    assert head["metadata"]["licence"] == "CC0"
    assert all(layer["layerCount"] == q.layer_count for layer in found["layers"])
    shown = {layer["layers"]: layer for layer in found["layers"]}
    for layers, layer in shown.items():
        assert layer["splats"] == int((q.layers < layers).sum())
        gain = q.gains[layers - 1] if layers < q.layer_count and q.gains else None
        expected = [gain.log_scale, gain.opacity] if gain else [0, 1]
        assert [layer["gain"]["logScale"], layer["gain"]["opacity"]] == expected
    assert sorted(shown) == sorted({int(layer) + 1 for layer in q.layers})


@pytest.mark.parametrize("name", ["codebooks", "codebooks of degree 0", "anchors", "anchors of degree 3", "no anchors"])
def test_other_kinds_are_loaded(page: Any, site: Site, name: str) -> None:
    (site.files / "scene.srz").write_bytes(OTHER_KINDS[name])
    found = call(page, site, "opened", "scene.srz")
    # The prediction from anchors is summed in another order.
    assert_scene(found, read_scene(site.files / "scene.srz"), ulps=4, atol=1e-6 if "anchors" in name else 0.0)
    assert found["head"]["up"] == ([0, -1, 0] if name == "codebooks" else None)


def test_a_file_that_was_cut_off_shows_its_whole_layers(page: Any, site: Site) -> None:
    q = quantised(500, 2, 4)
    data = encode(q)
    end = max(chunk.end for chunk in read_head(data).chunks if chunk.layer == 1)
    (site.files / "cut.srz").write_bytes(data[: end + 100])
    found = call(page, site, "opened", "cut.srz")
    assert found["error"] is None
    assert [layer["layers"] for layer in found["layers"]] == [1, 2]
    assert found["result"] == len(decode_file(data[: end + 100]).scene) == int((q.layers < 2).sum())
    (site.files / "cut.srz").write_bytes(data[: read_head(data).chunks[0].end - 1])
    assert "at least one whole layer" in call(page, site, "opened", "cut.srz")["error"]["message"]
    (site.files / "cut.srz").write_bytes(data + b"more")
    assert "the end of the file" in call(page, site, "opened", "cut.srz")["error"]["message"]


def test_fewer_bands_of_sh(page: Any, site: Site) -> None:
    data = encode(quantised(300, 3, 2))
    (site.files / "scene.srz").write_bytes(data)
    found = call(page, site, "opened", "scene.srz", {"degree": 1})
    kept = decode_file(data, sh_degree=1).scene
    assert_scene(found, kept)
    assert numbers(found, "sh", "<i2").reshape(300, 15, 3)[:, :3].any()


READ = {
    **{
        f"{name}, degree {degree}": (name, degree)
        for name in ("ply", "compressed.ply", "spz", "sog")
        for degree in range(4)
    },
    "splat": ("splat", 0),
}


@pytest.mark.parametrize("case", READ)
@pytest.mark.parametrize("n", [1, 300])
def test_formats_are_read_as_python_does(page: Any, site: Site, case: str, n: int) -> None:
    name, degree = READ[case]
    scene = plain_scene(n, degree, seed=degree, antialiased=FORMATS[name].antialiased)
    write_scene(scene, site.files / "scene.bin", format=name)
    found = call(page, site, "opened", "scene.bin")
    assert found["error"] is None, found["error"]
    assert found["head"]["format"] == name
    assert_scene(found, read_scene(site.files / "scene.bin"), ulps=2, atol=1e-6)


def first_version(scene: Gaussians) -> bytes:
    """SPZ of version 1, which we only read: like 2, but for positions in half floats; 2, in turn, has 3 bytes of
    rotation."""
    n = len(scene)
    third = gzip.decompress(spz.write(scene, spz.SpzOptions(version=3)))
    head, body = bytearray(third[:16]), third[16:]
    head[4] = 1
    vectors = (scene.quats / np.linalg.norm(scene.quats, axis=1, keepdims=True))[:, 1:]
    rotations = np.round(vectors * 127.5 + 127.5).astype(np.uint8).tobytes()
    positions = (scene.means * [1, -1, -1]).astype("<f2").tobytes()
    return gzip.compress(bytes(head) + positions + body[9 * n : 16 * n] + rotations + body[20 * n :])


def second_version(scene: Gaussians) -> bytes:
    n = len(scene)
    first = gzip.decompress(first_version(scene))
    fixed = gzip.decompress(spz.write(scene, spz.SpzOptions(version=3)))[: 16 + 9 * n]
    return gzip.compress(fixed[:4] + bytes([2]) + fixed[5:] + first[16 + 6 * n :])


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_versions_of_spz(page: Any, site: Site, version: int) -> None:
    scene = plain_scene(500, 3, seed=version)
    older = {1: first_version, 2: second_version}
    data = older[version](scene) if version in older else spz.write(scene, spz.SpzOptions(version=version))
    (site.files / "scene.spz").write_bytes(data)
    found = call(page, site, "opened", "scene.spz")
    assert found["head"]["version"] == version
    assert_scene(found, read_scene(site.files / "scene.spz"), ulps=2, atol=1e-6)


@pytest.mark.parametrize("name", ["scene.ply", "scene.srz"])
def test_large_files_come_in_pieces(page: Any, site: Site, name: str) -> None:
    write_scene(plain_scene(60_000, 0), site.files / name)
    found = call(page, site, "opened", name)
    assert found["sizes"] == [16384] * 3 + [60_000 - 3 * 16384]
    assert_scene(found, read_scene(site.files / name))


@pytest.mark.parametrize("name", ["scene.srz", "scene.ply"])
def test_loading_stops_when_it_is_aborted(page: Any, site: Site, name: str) -> None:
    data = (
        encode(quantised(2000, 2, 8))
        if name.endswith("srz")
        else FORMATS["ply"].load_writer().write(plain_scene(70_000, 0))
    )
    (site.files / name).write_bytes(data)
    assert call(page, site, "aborted", name) == {"before": 2, "after": 0, "error": "AbortError"}
