"""SOG version 2 (PlayCanvas), writing. Byte table: docs/formats/README.md; reading: sog.py. n = Gaussians."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass

import numpy as np

import scenerep
from scenerep.errors import SceneRepError
from scenerep.io.kmeans import levels, nearest_level, palette
from scenerep.io.morton import morton_order
from scenerep.io.packing import opacity, smallest_three, to_bytes
from scenerep.io.sog import META, PALETTE_WIDTH
from scenerep.io.webp import write_webp
from scenerep.scenes import Gaussians


@dataclass(frozen=True)
class SogOptions:
    """How a scene is written."""

    palette: int | None = None
    """Codewords for the higher SH bands, up to 65536. None: 1024 times the largest power of two up to n / 1024 and 64,
    as other writers choose; fewer make a smaller file."""
    seed: int = 0
    """Where the search for codewords starts; the same number gives the same file."""


def write(scene: Gaussians, options: SogOptions | None = None) -> bytes:
    """The scene as a zip file of `write_parts`; stored, as the pictures are compressed already."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in write_parts(scene, options).items():
            archive.writestr(zipfile.ZipInfo(name), data)  # with a fixed date: the same scene, the same bytes
    return out.getvalue()


def write_parts(scene: Gaussians, options: SogOptions | None = None) -> dict[str, bytes]:
    """The files of a SOG folder by name, `meta.json` last.

    Lost: the order (it becomes Morton order); sizes and colours are rounded to 256 levels, opacities to bytes,
    rotations to 255ths, positions to 65535ths of the scene's extent in ln(1 + |x|), the higher SH bands to a palette.

    Raises:
        SceneRepError: if the scene is empty.
    """
    options = options or SogOptions()
    if len(scene) == 0:
        raise SceneRepError("SOG cannot hold a scene without Gaussians", "choose another format")
    scene = scene.select(morton_order(scene.means))
    n = len(scene)
    width = int(np.ceil(np.sqrt(n) / 4)) * 4
    shape = (int(np.ceil(n / width / 4)) * 4, width)
    parts: dict[str, bytes] = {}

    logs = np.copysign(np.log1p(np.abs(scene.means.astype(np.float64))), scene.means)
    mins, maxs = logs.min(axis=0), logs.max(axis=0)
    steps = np.floor((logs - mins) / np.maximum(maxs - mins, 1e-30) * 65535 + 0.5).astype(np.uint16)
    parts["means_l.webp"] = _picture(steps & 255, None, shape)
    parts["means_u.webp"] = _picture(steps >> 8, None, shape)

    largest, others = smallest_three(scene.quats)
    parts["quats.webp"] = _picture(to_bytes((others * np.sqrt(0.5) + 0.5) * 255), 252 + largest, shape)

    scale_levels = levels(scene.log_scales)
    parts["scales.webp"] = _picture(nearest_level(scene.log_scales, scale_levels), None, shape)

    colour_levels = levels(scene.sh[:, 0])
    alpha = to_bytes(opacity(scene.opacity_logits) * 255)
    parts["sh0.webp"] = _picture(nearest_level(scene.sh[:, 0], colour_levels), alpha, shape)

    meta = {
        "version": 2,
        "asset": {"generator": f"scenerep {scenerep.__version__}"},
        "count": n,
        "antialias": scene.antialiased,
        "means": {"mins": mins.tolist(), "maxs": maxs.tolist(), "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": scale_levels.tolist(), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": colour_levels.tolist(), "files": ["sh0.webp"]},
    }
    if scene.sh_degree > 0:
        meta["shN"] = _higher_bands(scene, options, shape, parts)
    parts[META] = json.dumps(meta).encode()
    return parts


def _higher_bands(
    scene: Gaussians, options: SogOptions, shape: tuple[int, int], parts: dict[str, bytes]
) -> dict[str, object]:
    """Adds the palette and the labels to `parts` and returns their entry in meta.json."""
    n, k = len(scene), scene.sh.shape[1] - 1
    wanted = options.palette or min(64, 1 << max(0, int(np.log2(max(n / 1024, 1))))) * 1024
    codewords, labels = palette(scene.sh[:, 1:].reshape(n, 3 * k), min(wanted, 1 << 16), options.seed)
    sh_levels = levels(codewords)
    rows = -(-len(codewords) // PALETTE_WIDTH)
    pixels = nearest_level(codewords, sh_levels).reshape(-1, 3)
    parts["shN_centroids.webp"] = _picture(pixels, None, (rows, PALETTE_WIDTH * k))
    label_bytes = np.stack([labels & 255, labels >> 8, np.zeros_like(labels)], axis=1)
    parts["shN_labels.webp"] = _picture(label_bytes, None, shape)
    return {
        "count": len(codewords),
        "bands": scene.sh_degree,
        "codebook": sh_levels.tolist(),
        "files": ["shN_centroids.webp", "shN_labels.webp"],
    }


def _picture(rgb: np.ndarray, alpha: np.ndarray | None, shape: tuple[int, int]) -> bytes:
    """WebP of [n, 3] values in 0..255, row by row; the rest is zero. Opaque without an alpha."""
    pixels = np.zeros((shape[0] * shape[1], 4), np.uint8)
    pixels[:, 3] = 255
    pixels[: len(rgb), :3] = rgb
    if alpha is not None:
        pixels[: len(rgb), 3] = alpha
    return write_webp(pixels.reshape(*shape, 4))
