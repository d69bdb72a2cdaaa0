"""Scenes and cameras for tests of the renderer, in the page's shape too, and pixels out of the browser."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from typing import Any

import numpy as np

from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import look_at
from scenerep.scenes import Gaussians

UP = np.array([0.0, -1.0, 0.0])

BASE64 = """
  const base64 = (array) => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  };
"""
"""JavaScript for an answer with many numbers."""


def surfaces(n: int, *, degree: int = 3, seed: int = 0, antialiased: bool = False) -> Gaussians:
    """Flat textured Gaussians on two spheres and a floor, with much colour that depends on the direction."""
    r = np.random.default_rng(seed)
    kind = r.integers(0, 3, n)
    on_sphere = r.normal(size=(n, 3))
    on_sphere /= np.linalg.norm(on_sphere, axis=1)[:, None]
    middles = np.array([[-0.7, 0.0, 0.0], [0.6, 0.2, 0.4], [0.0, 0.0, 0.0]])[kind]
    radii = np.array([0.8, 0.6, 0.0])[kind][:, None]
    means = middles + radii * on_sphere
    floor = kind == 2
    means[floor] = np.stack(
        [r.uniform(-2, 2, floor.sum()), np.full(floor.sum(), 0.85), r.uniform(-2, 2, floor.sum())], 1
    )
    normals = np.where(floor[:, None], UP, on_sphere)
    # Quaternion that turns z to the normal, then a random turn about it.
    turn = np.concatenate([1 + normals[:, 2:], -normals[:, 1:2], normals[:, :1], np.zeros((n, 1))], 1)
    turn[np.linalg.norm(turn, axis=1) < 1e-6] = [0, 1, 0, 0]
    angle = r.uniform(0, math.pi, n)
    spin = np.stack([np.cos(angle), 0 * angle, 0 * angle, np.sin(angle)], 1)
    size = 4.0 / math.sqrt(n)
    log_scales = np.log(size * r.uniform([0.3, 0.3, 0.03], [1.5, 1.5, 0.2], (n, 3)))
    sh = r.normal(0, 0.12, (n, (degree + 1) ** 2, 3))
    sh[:, 0] = 1.2 * np.sin(5 * means + [0, 1, 2])
    logits = r.uniform(-1, 5, n)
    return Gaussians(means, log_scales, _times(turn, spin), logits, sh, antialiased=antialiased)


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of quaternions [n, 4] wxyz."""
    w = a[:, :1] * b[:, :1] - (a[:, 1:] * b[:, 1:]).sum(1, keepdims=True)
    return np.concatenate([w, a[:, :1] * b[:, 1:] + b[:, :1] * a[:, 1:] + np.cross(a[:, 1:], b[:, 1:])], 1)


def camera(which: int = 0, *, fov_deg: float = 50.0, size: tuple[int, int] = (320, 240)) -> Camera:
    """One of three: in front, from the side and above, close by with the principal point off the middle."""
    width, height = size
    eye = np.array([[0.0, -0.8, -3.6], [3.0, -1.5, 1.2], [-1.0, -0.2, -1.6]][which])
    f = 0.5 * height / math.tan(0.5 * math.radians(fov_deg))
    offset = np.array([[0, 0], [0, 0], [9.25, -6.5]][which])
    pose = look_at(eye, np.array([0.0, 0.2, 0.1]), UP)
    return Camera(f, f, width / 2 + offset[0], height / 2 + offset[1], width, height, pose)


def page_camera(seen: Camera) -> dict[str, Any]:
    """A camera as the page's renderer takes it."""
    return {
        **{name: getattr(seen, name) for name in ("width", "height", "fx", "fy", "cx", "cy")},
        "viewFromWorld": seen.camera_from_world.reshape(-1).tolist(),
    }


def python_camera(seen: dict[str, Any]) -> Camera:
    """A camera of the page."""
    pose = np.linalg.inv(np.reshape(seen["viewFromWorld"], (4, 4)))
    return Camera(*(seen[name] for name in ("fx", "fy", "cx", "cy", "width", "height")), pose)


def one(
    mean: tuple[float, ...] = (0.0, 0.0, 4.0),
    scales: tuple[float, ...] = (0.2, 0.2, 0.2),
    opacity: float = 0.8,
    rgb: tuple[float, ...] = (0.9, 0.5, 0.2),
    quat: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0),
) -> Gaussians:
    """A scene of one Gaussian without SH."""
    dc = (np.array(rgb) - 0.5) / 0.28209479177387814
    logit = math.log(opacity / (1 - opacity))
    return Gaussians(np.array([mean]), np.log([scales]), np.array([quat]), np.array([logit]), dc.reshape(1, 1, 3))


def joined(*scenes: Gaussians) -> Gaussians:
    first = scenes[0]
    return replace(
        first, **{name: np.concatenate([getattr(scene, name) for scene in scenes]) for name in first.arrays()}
    )


def straight(size: tuple[int, int] = (96, 64), f: float = 100.0) -> Camera:
    """At the origin, looking along +z; the middle of the picture is the centre of a pixel."""
    width, height = size
    return Camera(f, f, width / 2 + 0.5, height / 2 + 0.5, width, height)


def page_splats(scene: Gaussians) -> dict[str, Any]:
    """Head and arrays of a scene as the page's renderer takes them, as plain lists."""
    k = scene.sh.shape[1] - 1
    logits = scene.opacity_logits.astype(np.float64)
    return {
        "head": {
            "count": len(scene),
            "degree": scene.sh_degree,
            "antialiased": scene.antialiased,
            "shType": "float32",
            "shSpace": "rgb",
        },
        "means": scene.means.ravel().tolist(),
        "logScales": scene.log_scales.ravel().tolist(),
        "quats": scene.quats.ravel().tolist(),
        "opacities": (0.5 + 0.5 * np.tanh(0.5 * logits)).tolist(),
        "colours": (0.5 + 0.28209479177387814 * scene.sh[:, 0].astype(np.float64)).ravel().tolist(),
        "sh": scene.sh[:, 1:].ravel().tolist() if k else None,
    }


def numbers(text: str, dtype: type, seen: Camera) -> np.ndarray:
    """[h, w, 4] out of base64."""
    return np.frombuffer(base64.b64decode(text), dtype).reshape(seen.height, seen.width, 4)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of pictures in [0, 1]."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)
