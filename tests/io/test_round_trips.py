"""Laws of all formats: what is written is read again within the format's step, and a second time exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_cases import angles_deg, covariances, ksplat_bytes, opacities, plain_scene, written

from scenerep.errors import SceneRepError
from scenerep.formats import FORMATS
from scenerep.io import detect, ksplat, sog, sog_writer, spz
from scenerep.io.axes import AXES, convert_axes, flips
from scenerep.io.morton import morton_order
from scenerep.io.sog_writer import SogOptions
from scenerep.io.spz import SpzOptions
from scenerep.scenes import Gaussians

# Largest errors: position (of the scene's extent, 3.4), ln size, opacity, colour, SH, rotation in degrees.
STEPS = {
    "ply": (0, 0, 0, 0, 0, 0.06),
    "compressed.ply": (3.5 / 1023 / 2, 7 / 1023 / 2, 0.002, 0.004, 0.017, 0.2),
    "spz": (2.0**-13, 1 / 32, 0.002, 0.0038, 0.0665, 0.4),
    "sog": (1.9e-4, 0.04, 0.002, 0.004, np.inf, 1.0),
    "splat": (0, 1e-6, 0.002, 0.002, np.inf, 1.0),
    "ksplat": (1e-4, 1e-3, 0.002, 0.002, 1e-3, 0.1),
    "glb": (0, 1e-6, 1e-6, 1e-6, 0, 0.06),
    "checkpoint": (0, 0, 0, 0, 0, 0.06),
}


def in_order(format: str, scene: Gaussians) -> Gaussians:
    """The scene in the order in which the format stores it."""
    if format in ("compressed.ply", "sog"):
        return scene.select(morton_order(scene.means))
    if format == "splat":
        weight = scene.log_scales.sum(axis=1, dtype=np.float64) + np.log(opacities(scene))
        return scene.select(np.argsort(-weight, kind="stable"))
    return scene


def test_every_format_has_a_law() -> None:
    # .srz reorders axes and Gaussians and chooses its steps by the scene: its laws are in tests/coding.
    assert STEPS.keys() == FORMATS.keys() - {"srz"}
    assert AXES.keys() == FORMATS.keys() - {"checkpoint", "srz"}


@pytest.mark.parametrize("format", STEPS)
@settings(max_examples=12, deadline=None)
@given(
    n=st.sampled_from([1, 2, 5, 255, 256, 257, 400]),
    degree=st.integers(0, 3),
    seed=st.integers(0, 99),
    aa=st.booleans(),
)
def test_round_trip(format: str, n: int, degree: int, seed: int, aa: bool) -> None:
    scene = plain_scene(n, degree, seed, aa)
    data = written(format, scene)
    assert detect(data, "x") == format
    got, want = FORMATS[format].load_reader().read(data), in_order(format, scene)
    position, size, alpha, colour, sh, angle = STEPS[format]
    assert len(got) == n
    assert got.sh_degree == min(degree, FORMATS[format].sh_degree)
    assert got.antialiased == (aa and FORMATS[format].antialiased)
    assert np.abs(got.means - want.means).max() <= position + 1e-7
    assert np.abs(got.log_scales - want.log_scales).max() <= size + 1e-6
    assert np.abs(opacities(got) - opacities(want)).max() <= alpha
    assert np.abs(got.sh[:, 0] - want.sh[:, 0]).max() * 0.2821 <= colour + 1e-7
    if got.sh_degree:
        assert np.abs(got.sh[:, 1:] - want.sh[:, 1:]).max() <= sh + 1e-7
    assert angles_deg(got, want).max() <= angle


@pytest.mark.parametrize(
    "format", [name for name, entry in FORMATS.items() if entry.writer and name not in ("compressed.ply", "srz")]
)
def test_a_second_round_trip_changes_nothing_more(format: str) -> None:
    read = FORMATS[format].load_reader().read
    once = read(written(format, plain_scene(300, 2)))
    twice = read(written(format, once))
    for name, array in in_order(format, once).arrays().items():
        # Colours that lie on codebook levels, rounded numbers that are multiples of their step: only float noise.
        if name != "quats":  # q and -q are the same rotation
            np.testing.assert_allclose(twice.arrays()[name], array, rtol=1e-5, atol=2e-5, err_msg=name)
    assert angles_deg(twice, in_order(format, once)).max() < 1.0


@pytest.mark.parametrize("format", ["ply", "spz", "glb", "compressed.ply"])
def test_an_empty_scene(format: str) -> None:
    got = FORMATS[format].load_reader().read(written(format, plain_scene(0, 0)))
    assert len(got) == 0


def test_sog_says_that_it_cannot_be_empty() -> None:
    with pytest.raises(SceneRepError, match="without Gaussians"):
        sog_writer.write(plain_scene(0))


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_ksplat_levels(level: int, degree: int) -> None:
    scene = plain_scene(21, degree)
    got = ksplat.read(ksplat_bytes(scene, level))
    assert np.abs(got.means - scene.means).max() <= (0, 8e-5, 8e-5)[level]
    assert np.abs(got.sh[:, 1:] - scene.sh[:, 1:]).max(initial=0) <= (0, 5e-4, 0.006)[level]
    np.testing.assert_allclose(covariances(got), covariances(scene), rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("version", [3, 4])
def test_spz_versions_hold_the_same(version: int) -> None:
    scene = plain_scene(50, 3, antialiased=True)
    got = spz.read(spz.write(scene, SpzOptions(version=version)))
    assert got.metadata["spz_version"] == version
    assert got.antialiased
    same = spz.read(spz.write(scene))
    for name, array in same.arrays().items():
        np.testing.assert_array_equal(got.arrays()[name], array)


def test_spz_adapts_its_step_to_the_scene() -> None:
    scene = plain_scene(50, 0)
    far = replace(scene, means=scene.means * 4000)
    np.testing.assert_allclose(spz.read(spz.write(far)).means, far.means, atol=2.0**-10)
    fine = replace(scene, log_scales=scene.log_scales - 6)
    assert np.abs(spz.read(spz.write(fine)).means - fine.means).max() <= 2.0**-16 + 1e-7
    with pytest.raises(SceneRepError, match="2048"):
        spz.write(far, SpzOptions(fractional_bits=12))


def test_sog_palette_size_trades_bytes_for_precision() -> None:
    scene = plain_scene(3000, 3)
    small, large = (sog_writer.write(scene, SogOptions(palette=count)) for count in (64, 2048))
    assert len(small) < len(large)
    want = in_order("sog", scene).sh[:, 1:]
    errors = [np.square(sog.read(data).sh[:, 1:] - want).mean() for data in (small, large)]
    assert errors[1] < 0.5 * errors[0]


def test_the_same_scene_gives_the_same_bytes() -> None:
    scene = plain_scene(500, 2)
    for name, entry in FORMATS.items():
        if entry.writer:
            assert written(name, scene) == written(name, scene), name


@pytest.mark.parametrize("axes", ["RUB", "LUF", "RDF", "LDB"])
def test_flipped_axes_show_the_same_scene(axes: str) -> None:
    """Positions, covariances and colours along every direction, all seen in the flipped frame."""
    from scenerep.geometry.sh import evaluate

    scene = plain_scene(20, 3)
    turned = convert_axes(scene, "RDF", axes)
    f = flips("RDF", axes)
    np.testing.assert_array_equal(turned.means, scene.means * f)
    np.testing.assert_allclose(covariances(turned), covariances(scene) * np.outer(f, f), rtol=1e-5, atol=1e-9)
    d = np.random.default_rng(1).normal(size=(20, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    np.testing.assert_allclose(evaluate(turned.sh, d * f), evaluate(scene.sh, d), atol=1e-5)
    back = convert_axes(turned, axes, "RDF")
    for name, array in scene.arrays().items():
        if name != "quats":
            np.testing.assert_array_equal(back.arrays()[name], array)
