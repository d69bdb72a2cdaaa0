"""The loss kernel against the torch reference in float64, and what the wrapper refuses."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from scenerep.errors import ConfigError, DataError
from scenerep.metrics import L1SSIM
from scenerep.metrics.reference import l1_ssim_reference
from scenerep.native import native

SIZES = [(1, 1), (3, 5), (16, 16), (17, 31), (67, 501), (360, 640)]  # 501 columns: two strips with a seam


def _pictures(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture with smooth and rough parts, and an 8-bit target near it."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    smooth = 0.5 + 0.5 * np.sin(x[..., None] / 9 + np.arange(3)) * np.cos(y[..., None] / 7)
    image = np.where(x[..., None] % 40 < 20, smooth, rng.random((height, width, 3))).astype(np.float32)
    target = np.clip(image + rng.normal(0, 0.1, image.shape), 0, 1)
    return image, np.round(255 * target).astype(np.uint8)


def _mask(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    mask = rng.random(size) > 0.3
    mask[0, 0] = True  # never empty
    return mask


def _reference(image, target, mask, lambda_):
    x = torch.tensor(image, dtype=torch.float64, requires_grad=True)
    loss, l1, ssim = l1_ssim_reference(x, torch.tensor(target), None if mask is None else torch.tensor(mask), lambda_)
    (gradient,) = torch.autograd.grad(loss, x)
    return loss.item(), l1.item(), ssim.item(), gradient.numpy()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_kernel_equals_reference(size, masked, rng):
    image, target = _pictures(size, rng)
    mask = _mask(size, rng) if masked else None
    *expected, gradient = _reference(image, target, mask, 0.2)
    kernel = L1SSIM(0.2)
    for statistics in (None, kernel.target_statistics(target, mask)):
        out = kernel.loss_and_gradient(image, target, statistics, mask)
        np.testing.assert_allclose(out[:3], expected, rtol=0, atol=1e-5)
        assert np.linalg.norm(out.gradient - gradient) < 1e-4 * np.linalg.norm(gradient)
        assert kernel.loss(image, target, statistics, mask) == pytest.approx(out.loss, abs=1e-9)


@pytest.mark.parametrize("lambda_", [0.0, 1.0])
def test_each_term_alone(lambda_, rng):
    image, target = _pictures((23, 40), rng)
    *expected, gradient = _reference(image, target, None, lambda_)
    out = L1SSIM(lambda_).loss_and_gradient(image, target)
    np.testing.assert_allclose(out[:3], expected, rtol=0, atol=1e-5)
    assert np.linalg.norm(out.gradient - gradient) < 1e-4 * np.linalg.norm(gradient)


def test_gradient_is_the_slope_of_the_loss(rng):
    """By differences of the kernel's own loss: autograd has no say in this one."""
    image, target = _pictures((12, 20), rng)
    kernel = L1SSIM(1.0)  # L1 has corners
    gradient = kernel.loss_and_gradient(image, target).gradient
    for _ in range(5):
        direction = rng.normal(size=image.shape).astype(np.float32)
        h = 1e-3
        slope = (kernel.loss(image + h * direction, target) - kernel.loss(image - h * direction, target)) / (2 * h)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=2e-2, abs=1e-5)


@pytest.mark.parametrize("level", [128, 205, 248])
def test_flat_pictures(level, rng):
    """Small variances beside large means, where float32 loses most: torch's is off by 5e-5, its gradient by 2e-4."""
    image = (level / 255 + 0.002 * (rng.random((64, 96, 3)) - 0.5)).astype(np.float32)
    target = np.full((64, 96, 3), level, np.uint8)
    *expected, gradient = _reference(image, target, None, 1.0)
    out = L1SSIM(1.0).loss_and_gradient(image, target)
    np.testing.assert_allclose(out[:3], expected, rtol=0, atol=3e-5)
    assert np.linalg.norm(out.gradient - gradient) < 2e-4 * np.linalg.norm(gradient)


def test_equal_pictures_have_no_loss():
    target = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    out = L1SSIM().loss_and_gradient(target.astype(np.float32) / np.float32(255), target)
    assert out.l1 == 0
    assert out.ssim == pytest.approx(1, abs=1e-6)
    assert np.abs(out.gradient).max() < 1e-6


def test_float_target_equals_bytes(rng):
    image, target = _pictures((20, 33), rng)
    a = L1SSIM().loss_and_gradient(image, target)
    b = L1SSIM().loss_and_gradient(image, target.astype(np.float32) / np.float32(255))
    assert a[:3] == b[:3]
    np.testing.assert_array_equal(a.gradient, b.gradient)


def test_half_statistics_are_close(rng):
    image, target = _pictures((50, 70), rng)
    kernel = L1SSIM()
    exact = kernel.loss_and_gradient(image, target)
    half = kernel.loss_and_gradient(image, target, kernel.target_statistics(target, dtype=np.float16))
    assert half.ssim == pytest.approx(exact.ssim, abs=1e-4)
    assert np.linalg.norm(half.gradient - exact.gradient) < 1e-3 * np.linalg.norm(exact.gradient)


def test_same_bits_for_every_number_of_threads(rng, monkeypatch):
    image, target = _pictures((150, 501), rng)
    mask = _mask((150, 501), rng)
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("SCENEREP_THREADS", threads)
        kernel = L1SSIM()
        statistics = kernel.target_statistics(target, mask)
        assert native().threads() == int(threads)
        results.append((statistics.tobytes(), *_bits(kernel.loss_and_gradient(image, target, statistics, mask))))
    assert results[0] == results[1] == results[2]


def _bits(out):
    return (*out[:3], out.gradient.tobytes())


def test_one_object_serves_pictures_of_every_size(rng):
    """Rows left over from a larger picture must not be seen by a smaller one."""
    kernel = L1SSIM()
    for size in [(90, 700), (7, 11), (40, 350), (1, 2), (90, 700)]:
        image, target = _pictures(size, rng)
        assert _bits(kernel.loss_and_gradient(image, target)) == _bits(L1SSIM().loss_and_gradient(image, target))


def test_nothing_behind_the_mask_counts(rng):
    image, target = _pictures((40, 60), rng)
    mask = _mask((40, 60), rng)
    clean = L1SSIM().loss_and_gradient(image, target, mask=mask)
    image[~mask] = np.nan
    target[~mask] = 255
    dirty = L1SSIM().loss_and_gradient(image, target, mask=mask)
    assert _bits(clean) == _bits(dirty)
    assert not dirty.gradient[~mask].any()


def test_empty_mask_gives_zero(rng):
    image, target = _pictures((8, 9), rng)
    out = L1SSIM().loss_and_gradient(image, target, mask=np.zeros((8, 9), bool))
    assert out[:3] == (0.0, 0.0, 1.0)
    assert not out.gradient.any()


def test_tensors_and_given_buffers(rng):
    image, target = _pictures((9, 13), rng)
    buffer = np.full_like(image, np.nan)
    out = L1SSIM().loss_and_gradient(torch.tensor(image, requires_grad=True), torch.tensor(target), gradient=buffer)
    assert out.gradient is buffer
    assert _bits(out) == _bits(L1SSIM().loss_and_gradient(image, target))


_CHILD = """
import sys, numpy as np
from scenerep.metrics import L1SSIM
from scenerep.native import isa
data = np.load(sys.argv[1])
kernel = L1SSIM(0.2)
image, target, mask = data["image"], data["target"], data["mask"]
out = kernel.loss_and_gradient(image, target, kernel.target_statistics(target, mask), mask)
half = kernel.loss_and_gradient(image, target, kernel.target_statistics(target, dtype=np.float16))
np.savez(sys.argv[2], isa=isa(), parts=out[:3], gradient=out.gradient, half=half[:3])
"""


@pytest.mark.parametrize("isa", ["x86-64", "x86-64-v3", "x86-64-v4", "aarch64", "generic"])
def test_every_instruction_set(isa, rng, tmp_path):
    image, target = _pictures((37, 501), rng)
    mask = _mask((37, 501), rng)
    np.savez(tmp_path / "in.npz", image=image, target=target, mask=mask)
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, tmp_path / "in.npz", tmp_path / "out.npz"],
        env={**os.environ, "SCENEREP_ISA": isa},
        capture_output=True,
        text=True,
    )
    if child.returncode and ("does not run on this CPU" in child.stderr or "was built without" in child.stderr):
        pytest.skip(f"{isa} is not for this machine")
    assert child.returncode == 0, child.stderr
    with np.load(tmp_path / "out.npz") as out:
        *expected, gradient = _reference(image, target, mask, 0.2)
        assert out["isa"] == isa
        np.testing.assert_allclose(out["parts"], expected, rtol=0, atol=1e-5)
        assert np.linalg.norm(out["gradient"] - gradient) < 1e-4 * np.linalg.norm(gradient)
        np.testing.assert_allclose(out["half"], _reference(image, target, None, 0.2)[:3], rtol=0, atol=1e-4)


def test_refusals(rng):
    image, target = _pictures((8, 9), rng)
    kernel = L1SSIM()
    with pytest.raises(ConfigError, match=r"weight of SSIM is 1\.5"):
        L1SSIM(1.5)
    with pytest.raises(DataError, match="differ in size"):
        kernel.loss(image, target[1:])
    with pytest.raises(DataError, match=r"the mask has shape \(9, 8\)"):
        kernel.loss(image, target, mask=np.ones((9, 8)))
    with pytest.raises(DataError, match="the image has type uint8"):
        kernel.loss(target, target)
    with pytest.raises(DataError, match=r"expected \(2, 8, 9, 3\)"):
        kernel.loss(image, target, kernel.target_statistics(target)[0])
    with pytest.raises(DataError, match="writable contiguous float32"):
        kernel.loss_and_gradient(image, target, gradient=np.empty((9, 8, 3), np.float32).transpose(1, 0, 2))
