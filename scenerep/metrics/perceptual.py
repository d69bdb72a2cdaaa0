"""LPIPS (Zhang et al. 2018), where the optional `lpips` package and its weights are there."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from scenerep.errors import ConfigError, DeviceError
from scenerep.metrics.pictures import as_float, as_pair

# The backbone's file among torch's downloads, as torchvision names it. The package would fetch it without asking.
_BACKBONES = {"alex": "alexnet-*.pth", "vgg": "vgg16-*.pth"}


def lpips(image: Any, reference: Any, network: str = "alex") -> float:
    """Perceptual distance, 0 for equal pictures; lower is better.

    Args:
        image, reference: [h, w, 3] uint8, or float in [0, 1].
        network: `alex`, what the package's authors report, or `vgg`, what 3DGS reports.

    Raises:
        DeviceError: The package or the weights of its backbone are missing. Nothing is downloaded.
        ConfigError: Another network.
    """
    a, b, _ = as_pair(image, reference, None)
    model = _model(network)
    import torch

    def batch(picture: np.ndarray) -> Any:
        return torch.from_numpy(as_float(picture).transpose(2, 0, 1)[None] * 2 - 1)  # the package takes [-1, 1]

    with torch.no_grad():
        return float(model(batch(a), batch(b)))


@functools.cache
def _model(network: str) -> Any:
    if network not in _BACKBONES:
        raise ConfigError(f"LPIPS has no network {network!r}", f"use one of: {', '.join(_BACKBONES)}")
    try:
        import lpips as package
    except ImportError as error:
        raise DeviceError("LPIPS needs the lpips package", 'run: pip install "scenerep[metrics]"') from error
    import torch

    downloads = Path(torch.hub.get_dir()) / "checkpoints"
    if not any(downloads.glob(_BACKBONES[network])):
        raise DeviceError(
            f"the weights of LPIPS's {network} backbone are not in {downloads}",
            f"with a network, run once: python -c \"import lpips; lpips.LPIPS(net='{network}')\"",
        )
    return package.LPIPS(net=network, verbose=False).eval()
