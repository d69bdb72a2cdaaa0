"""The native march against the reference in plain torch, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenerep import native
from scenerep.errors import ConfigError
from scenerep.voxels import reference
from scenerep.voxels.autograd import composite, march_grid, sample_rays
from scenerep.voxels.pyramid import CHANNELS
from scenerep.voxels.space import Space

SIZE = (7, 6, 9)


def space(contracted: bool) -> Space:
    return Space(SIZE, np.array([[-1.0, -0.8, -1.2], [1.0, 0.9, 1.1]]), contracted)


def field(rng: np.random.Generator) -> np.ndarray:
    values = rng.normal(0, 1, (int(np.prod(SIZE)), CHANNELS)).astype(np.float32)
    values[:, 0] = rng.normal(5.5, 2, len(values))
    values[:, 13:] = 0
    return values


def rays(rng: np.random.Generator, n: int = 9) -> tuple[np.ndarray, np.ndarray]:
    origins = rng.normal(0, 1, (n, 3))
    origins *= 3 / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = rng.normal(0, 0.4, (n, 3)) - origins
    directions[0] = [0, 0, -1]  # along an axis, and beside the box
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return origins.astype(np.float32), directions.astype(np.float32)


@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize("degree", [0, 1])
def test_forward_and_backward(contracted: bool, degree: int, rng: np.random.Generator) -> None:
    where, (origins, directions) = space(contracted), rays(rng)
    values = torch.from_numpy(field(rng)).requires_grad_()
    o, d = torch.from_numpy(origins), torch.from_numpy(directions)
    rgb, alpha, depth = march_grid(values, where, o, d, sh_degree=degree, least_transmittance=1e-6)

    exact = values.detach().double().requires_grad_()
    shaped = exact.reshape(SIZE[2], SIZE[1], SIZE[0], CHANNELS)
    rgb_, alpha_, depth_ = reference.march(shaped, where, origins, directions, sh_degree=degree)
    torch.testing.assert_close(rgb.double(), rgb_, atol=1e-5, rtol=0)
    torch.testing.assert_close(alpha.double(), alpha_, atol=1e-5, rtol=0)
    torch.testing.assert_close(depth.double(), depth_, atol=1e-4, rtol=1e-4)
    early = march_grid(values.detach(), where, o, d, sh_degree=degree)  # rays end at a transmittance of 1e-3
    torch.testing.assert_close(early[0].double(), rgb_, atol=1.5e-3, rtol=0)
    assert alpha_.max() > 0.9

    v = torch.from_numpy(rng.normal(size=(len(o), 4)))
    ((rgb * v[:, :3].float()).sum() + (alpha * v[:, 3].float()).sum()).backward()
    ((rgb_ * v[:, :3]).sum() + (alpha_ * v[:, 3]).sum()).backward()
    assert values.grad is not None
    assert exact.grad is not None
    error = (values.grad.double() - exact.grad)[:, :13].norm() / exact.grad[:, :13].norm()
    assert error < 1e-3


def test_gradients_are_slopes(rng: np.random.Generator) -> None:
    """Finite differences of the reference, which autograd's formulas could share an error with."""
    where, (origins, directions) = space(True), rays(rng, 4)
    values = torch.from_numpy(field(rng)).requires_grad_()
    rgb, _, _ = march_grid(
        values, where, torch.from_numpy(origins), torch.from_numpy(directions), least_transmittance=1e-6
    )
    rgb.sum().backward()
    assert values.grad is not None
    vertex, channel = np.unravel_index(int(values.grad.abs().argmax()), values.shape)

    def at(shift: float) -> float:
        moved = values.detach().double().clone()
        moved[vertex, channel] += shift
        shaped = moved.reshape(SIZE[2], SIZE[1], SIZE[0], CHANNELS)
        return float(reference.march(shaped, where, origins, directions)[0].sum())

    slope = (at(1e-4) - at(-1e-4)) / 2e-4
    assert float(values.grad[vertex, channel]) == pytest.approx(slope, rel=1e-2)


def test_the_same_bits_for_any_number_of_threads(rng: np.random.Generator) -> None:
    origins, directions = (torch.from_numpy(x) for x in rays(rng, 200))
    start = torch.from_numpy(field(rng))
    found = []
    before = native.thread_count()
    try:
        for threads in (1, 2, 3):
            native.native().set_threads(threads)
            values = start.clone().requires_grad_()
            rgb, _, _ = march_grid(values, space(True), origins, directions, seed=3)
            (rgb**2).sum().backward()
            found.append((rgb.detach().numpy(), values.grad.numpy()))  # type: ignore[union-attr]
    finally:
        native.native().set_threads(before)
    for rgb, gradient in found[1:]:
        np.testing.assert_array_equal(rgb, found[0][0])
        np.testing.assert_array_equal(gradient, found[0][1])


@pytest.mark.parametrize("contracted", [False, True])
def test_samples_are_where_the_reference_has_them(contracted: bool, rng: np.random.Generator) -> None:
    where, (origins, directions) = space(contracted), rays(rng)
    samples = sample_rays(where, torch.from_numpy(origins), torch.from_numpy(directions))
    begin = 0
    for i, end in enumerate(samples.ends.tolist()):
        expected = reference.distances(where, origins[i], directions[i], 0.5)
        # A sample on the border may fall to either side.
        assert abs(end - begin - len(expected)) <= 1
        shared = min(end - begin, len(expected))
        np.testing.assert_allclose(samples.t[begin : begin + shared], expected[:shared], rtol=2e-4)
        begin = end


def test_a_field_in_torch_is_composited_alike(rng: np.random.Generator) -> None:
    where, (origins, directions) = space(False), rays(rng)
    o, d = torch.from_numpy(origins), torch.from_numpy(directions)
    values = torch.from_numpy(field(rng)).double()
    shaped = values.reshape(SIZE[2], SIZE[1], SIZE[0], CHANNELS)
    samples = sample_rays(where, o, d)
    grid = torch.from_numpy(where.to_grid((o[samples.ray] + samples.t[:, None] * d[samples.ray]).numpy()))
    found = reference.interpolate(shaped, grid)
    colour = torch.stack(
        [reference.colours(row[None, 1:13], d[ray].double())[0] for row, ray in zip(found, samples.ray, strict=True)]
    )
    density = reference.density(found[:, 0]).requires_grad_()
    rgb, alpha = composite(samples, density, colour)
    rgb_, alpha_, _ = reference.march(shaped, where, origins, directions)
    torch.testing.assert_close(rgb, rgb_, atol=1e-3, rtol=0)
    torch.testing.assert_close(alpha, alpha_, atol=1e-3, rtol=0)
    assert torch.autograd.gradcheck(lambda x: composite(samples, x, colour)[0], density, eps=1e-6, atol=1e-5)


def test_tensors_that_do_not_fit() -> None:
    o = torch.zeros(1, 3)
    with pytest.raises(ConfigError, match="float32"):
        march_grid(torch.zeros(int(np.prod(SIZE)), CHANNELS, dtype=torch.float64), space(False), o, o)
    with pytest.raises(ConfigError, match="shape"):
        march_grid(torch.zeros(5, CHANNELS), space(False), o, o)
