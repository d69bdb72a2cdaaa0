"""PSNR, SSIM, MS-SSIM and LPIPS against other people's implementations, and over masks."""

from __future__ import annotations

import math
import sys
import types

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from scenerep.errors import ConfigError, DataError, DeviceError
from scenerep.metrics import lpips, ms_ssim, perceptual, psnr, ssim, ssim_map


def _pair(height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width]
    reference = 0.5 + 0.4 * np.sin(x[..., None] / 11 + np.arange(3)) * np.cos(y[..., None] / 13)
    image = np.clip(reference + rng.normal(0, 0.05, reference.shape), 0, 1)
    return np.round(255 * image).astype(np.uint8), np.round(255 * reference).astype(np.uint8)


def test_psnr_equals_skimage(rng):
    image, reference = _pair(30, 41, rng)
    expected = peak_signal_noise_ratio(reference, image)
    assert psnr(image, reference) == pytest.approx(expected, abs=1e-9)
    assert psnr(image / 255, reference) == pytest.approx(expected, abs=1e-4)


def test_equal_pictures(rng):
    image, _ = _pair(170, 180, rng)
    assert psnr(image, image) == math.inf
    assert ssim(image, image) == pytest.approx(1, abs=1e-6)
    assert ms_ssim(image, image) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (40, 61)])
@pytest.mark.parametrize("masked", [False, True])
def test_ssim_is_the_mean_of_its_map(size, masked, rng):
    image, reference = _pair(*size, rng)
    mask = np.ones(size, bool)
    if masked:
        mask[1:, size[1] // 2 :] = False
    expected = ssim_map(image, reference, mask)[mask].mean()
    assert ssim(image, reference, mask if masked else None) == pytest.approx(expected, abs=1e-6)


def test_ssim_inside_equals_skimage(rng):
    """Away from the border, where the padding has no say."""
    image, reference = _pair(50, 60, rng)
    _, theirs = structural_similarity(
        image, reference, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, full=True
    )
    np.testing.assert_allclose(ssim_map(image, reference)[5:-5, 5:-5], theirs[5:-5, 5:-5], atol=1e-9)


@pytest.mark.parametrize("size", [(176, 192), (161, 203)])
def test_ms_ssim_equals_the_package(size, rng):
    package = pytest.importorskip("pytorch_msssim")
    image, reference = (a.astype(np.float64) / 255 for a in _pair(*size, rng))
    batches = (torch.tensor(a).permute(2, 0, 1)[None] for a in (image, reference))
    expected = package.ms_ssim(*batches, data_range=1.0).item()
    assert ms_ssim(image, reference) == pytest.approx(expected, abs=1e-6)


def test_masks_hide(rng):
    image, reference = _pair(200, 200, rng)
    mask = np.ones((200, 200), bool)
    mask[:, 150:] = False
    spoiled = image.copy()
    spoiled[:, 150:] = 0
    for metric in (psnr, ssim, ms_ssim):
        assert metric(spoiled, reference, mask) == metric(image, reference, mask)
        assert metric(spoiled, reference) < metric(image, reference) - 0.01
    assert ms_ssim(image, reference, np.ones((200, 200))) == pytest.approx(ms_ssim(image, reference), abs=1e-12)


def test_worse_pictures_score_less(rng):
    _, reference = _pair(170, 170, rng)
    noise = rng.normal(0, 1, reference.shape)
    pictures = [np.clip(reference / 255 + s * noise, 0, 1) for s in (0.02, 0.1, 0.3)]
    for metric in (psnr, ssim, ms_ssim):
        scores = [metric(picture, reference) for picture in pictures]
        assert scores == sorted(scores, reverse=True)


def test_refusals(rng):
    image, reference = _pair(20, 30, rng)
    with pytest.raises(DataError, match=r"shape \(20, 30\), expected \[h, w, 3\]"):
        psnr(image[..., 0], reference)
    with pytest.raises(DataError, match="type int64"):
        psnr(image.astype(np.int64), reference)
    with pytest.raises(DataError, match="no pixels"):
        ssim(image[:0], reference)
    with pytest.raises(DataError, match="ignores every pixel"):
        ssim(image, reference, np.zeros((20, 30)))
    with pytest.raises(DataError, match="at least 161 px"):
        ms_ssim(image, reference)


def test_lpips_names_what_is_missing(rng, monkeypatch, tmp_path):
    image, reference = _pair(32, 32, rng)
    perceptual._model.cache_clear()
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(DeviceError, match="needs the lpips package") as caught:
        lpips(image, reference)
    assert "scenerep[metrics]" in caught.value.hint
    monkeypatch.setitem(sys.modules, "lpips", types.ModuleType("lpips"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(DeviceError, match="weights of LPIPS's alex backbone"):
        lpips(image, reference)
    with pytest.raises(ConfigError, match="no network 'squid'"):
        lpips(image, reference, "squid")


def test_lpips_hands_over_the_right_batches(rng, monkeypatch, tmp_path):
    """The package stands in for itself with a distance that we can compute: the mean difference of its two inputs."""
    image, reference = _pair(32, 40, rng)

    class Model:
        def __init__(self, net: str, verbose: bool) -> None:
            assert net == "vgg" and not verbose

        def eval(self) -> Model:
            return self

        def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            assert a.shape == b.shape == (1, 3, 32, 40) and a.min() >= -1 and a.max() <= 1
            return (a - b).abs().mean()

    package = types.ModuleType("lpips")
    monkeypatch.setattr(package, "LPIPS", Model, raising=False)
    monkeypatch.setitem(sys.modules, "lpips", package)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vgg16-397923af.pth").touch()
    perceptual._model.cache_clear()
    expected = np.abs(image / 127.5 - reference / 127.5).mean()
    assert lpips(image, reference, "vgg") == pytest.approx(expected, abs=1e-6)
    perceptual._model.cache_clear()
