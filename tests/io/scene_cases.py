"""Scenes for the tests of formats, and how to compare them."""

from __future__ import annotations

import io

import numpy as np
import torch

from scenerep.formats import FORMATS
from scenerep.geometry.quaternions import rotation_from_quaternion
from scenerep.scenes import Gaussians


def plain_scene(n: int, degree: int = 3, seed: int = 0, antialiased: bool = False) -> Gaussians:
    """A scene within the ranges of all formats: a ball of radius 3, sizes 1e-3 to 1, SH within +-0.9."""
    r = np.random.default_rng(seed)
    k = (degree + 1) ** 2
    sh = r.uniform(-0.9, 0.9, (n, k, 3))
    return Gaussians(
        r.uniform(-1.7, 1.7, (n, 3)),
        r.uniform(-6.9, 0, (n, 3)),
        r.normal(size=(n, 4)) + 1e-3,
        r.uniform(-5, 5, n),
        sh,
        antialiased=antialiased,
    )


def covariances(scene: Gaussians) -> np.ndarray:
    """float64 [n, 3, 3], the same for all quaternions and orders of sizes that mean the same Gaussian."""
    if len(scene) == 0:
        return np.zeros((0, 3, 3))
    axes = rotation_from_quaternion(scene.quats) * np.exp(scene.log_scales.astype(np.float64))[:, None, :]
    return axes @ axes.transpose(0, 2, 1)


def opacities(scene: Gaussians) -> np.ndarray:
    return 1 / (1 + np.exp(-scene.opacity_logits.astype(np.float64)))


def angles_deg(a: Gaussians, b: Gaussians) -> np.ndarray:
    """[n] angles between the rotations."""
    x, y = (
        q / np.linalg.norm(q, axis=1, keepdims=True) for q in (a.quats.astype(np.float64), b.quats.astype(np.float64))
    )
    return np.degrees(2 * np.arccos(np.minimum(1, np.abs((x * y).sum(axis=1)))))


def written(format: str, scene: Gaussians) -> bytes:
    """The scene in any format that is read, also in those that we do not write."""
    if format == "ksplat":
        return ksplat_bytes(scene)
    if format == "checkpoint":
        return checkpoint_bytes(scene)
    return FORMATS[format].load_writer().write(scene)


def checkpoint_bytes(scene: Gaussians) -> bytes:
    """As gsplat's trainer saves."""
    tensors = {
        "means": scene.means,
        "scales": scene.log_scales,
        "quats": scene.quats,
        "opacities": scene.opacity_logits,
        "sh0": scene.sh[:, :1],
        "shN": scene.sh[:, 1:],
    }
    out = io.BytesIO()
    torch.save({"step": 7, "splats": {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}}, out)
    return out.getvalue()


def ksplat_bytes(scene: Gaussians, level: int = 1, bucket: int = 8, block: float = 5.0) -> bytes:
    """A .ksplat 0.1 in one section, written down from the format's description, one row after the other."""
    n, k = len(scene), scene.sh.shape[1] - 1
    header = np.zeros(4096, np.uint8)
    header[1] = 1
    header[4:8] = header[8:12] = np.array([1], "<u4").view(np.uint8)
    header[16:20] = np.array([n], "<u4").view(np.uint8)
    header[20:22] = np.array([level], "<u2").view(np.uint8)
    header[36:44] = np.array([-1.5, 1.5], "<f4").view(np.uint8)
    full, rest = divmod(n, bucket)
    buckets = full + (rest > 0)
    section = np.zeros(1024, np.uint8)
    section[:16] = np.array([n, n, bucket, buckets], "<u4").view(np.uint8)
    section[16:20] = np.array([block], "<f4").view(np.uint8)
    section[20:22] = np.array([12], "<u2").view(np.uint8)
    section[24:28] = np.array([32767], "<u4").view(np.uint8)
    section[32:40] = np.array([full, int(rest > 0)], "<u4").view(np.uint8)
    section[40:42] = np.array([scene.sh_degree], "<u2").view(np.uint8)
    centres = [scene.means[i * bucket : (i + 1) * bucket].mean(axis=0) for i in range(buckets)]
    lengths = np.array([rest] if rest else [], "<u4").tobytes()
    body = lengths + np.array(centres, "<f4").tobytes()
    number = "<f4" if level == 0 else "<f2"
    for i in range(n):
        mean = scene.means[i]
        if level == 0:
            body += mean.astype("<f4").tobytes()
        else:
            body += np.round((mean - centres[i // bucket]) / (block / 2 / 32767) + 32767).astype("<u2").tobytes()
        body += np.exp(scene.log_scales[i]).astype(number).tobytes()
        body += (scene.quats[i] / np.linalg.norm(scene.quats[i])).astype(number).tobytes()
        rgba = np.append(scene.sh[i, 0] * 0.28209479 + 0.5, opacities(scene)[i])
        body += np.clip(np.round(rgba * 255), 0, 255).astype(np.uint8).tobytes()
        for low, high in ((0, 3), (3, 8), (8, 15)):
            if high <= k:
                band = scene.sh[i, 1 + low : 1 + high].T.reshape(-1)
                steps = np.round((band + 1.5) / 3 * 255).astype(np.uint8)
                body += steps.tobytes() if level == 2 else band.astype(number).tobytes()
    return header.tobytes() + section.tobytes() + body
