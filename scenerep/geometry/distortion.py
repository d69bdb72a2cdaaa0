"""Lens distortion: where a ray lands on the sensor, the inverse, and the map that straightens a picture.

`xy` is always a point [n, 2] on the plane z = 1 in front of the camera (pinhole coordinates x / z, y / z); `r` its
distance from the axis, `theta = atan(r)` its angle from the axis.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scenerep.geometry.cameras import Camera, Distortion


def distort(xy: np.ndarray, distortion: Distortion | None) -> np.ndarray:
    """Distorted plane coordinates [n, 2] of `xy` [n, 2]: pixels are then (fx x + cx, fy y + cy).

    `opencv`: the rational model with tangential terms of OpenCV's calib3d. `fisheye`: theta_d = theta (1 + k1 theta^2 +
    ... + k4 theta^8) of Kannala and Brandt (PAMI 2006). `thin_prism`: COLMAP's THIN_PRISM_FISHEYE, which adds
    tangential and thin prism terms to the equidistant image.
    """
    xy = np.asarray(xy, dtype=np.float64)
    if distortion is None or distortion.is_zero:
        return xy
    x, y = xy[:, 0], xy[:, 1]
    p = distortion.params
    if distortion.model == "opencv":
        k1, k2, p1, p2, k3, k4, k5, k6 = p + (0.0,) * (8 - len(p))
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return np.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            ],
            axis=1,
        )
    r = np.hypot(x, y)
    theta = np.arctan(r)
    bend = np.where(r > 1e-12, theta / np.where(r > 1e-12, r, 1.0), 1.0)
    u, v = x * bend, y * bend
    t2 = theta * theta
    if distortion.model == "fisheye":
        k1, k2, k3, k4 = p + (0.0,) * (4 - len(p))
        scale = 1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))
        return np.stack([u * scale, v * scale], axis=1)
    k1, k2, p1, p2, k3, k4, sx1, sy1 = p
    radial = 1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))
    return np.stack(
        [
            u * radial + 2 * p1 * u * v + p2 * (t2 + 2 * u * u) + sx1 * t2,
            v * radial + 2 * p2 * u * v + p1 * (t2 + 2 * v * v) + sy1 * t2,
        ],
        axis=1,
    )


def undistort(xy_distorted: np.ndarray, distortion: Distortion | None) -> np.ndarray:
    """The inverse of `distort`, [n, 2]: Newton's method with a numerical Jacobian, 20 steps.

    Points that no ray reaches (outside the lens' range) come back as the best found; `distort` of them tells.
    """
    target = np.asarray(xy_distorted, dtype=np.float64)
    if distortion is None or distortion.is_zero:
        return target
    xy = target.copy()
    if distortion.model != "opencv":
        # Start a fisheye from its equidistant image; the cap keeps tan() on the half space in front.
        r = np.hypot(*target.T)
        theta = np.minimum(r, 1.5)
        xy *= np.where(r > 1e-12, np.tan(theta) / np.where(r > 1e-12, r, 1.0), 1.0)[:, None]
    step = 1e-6
    for _ in range(20):
        here = distort(xy, distortion)
        dx = (distort(xy + np.array([step, 0]), distortion) - here) / step
        dy = (distort(xy + np.array([0, step]), distortion) - here) / step
        residual = target - here
        determinant = dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0]
        determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)
        xy = xy + np.stack(
            [
                (residual[:, 0] * dy[:, 1] - residual[:, 1] * dy[:, 0]) / determinant,
                (residual[:, 1] * dx[:, 0] - residual[:, 0] * dx[:, 1]) / determinant,
            ],
            axis=1,
        )
    return xy


def project_distorted(camera: Camera, points: np.ndarray) -> np.ndarray:
    """World points [n, 3] to pixels of the picture as taken, and depth: [n, 3] (u, v, z). Points behind have z <= 0."""
    local = np.asarray(points) @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    z = local[:, 2]
    xy = distort(local[:, :2] / np.where(np.abs(z) < 1e-12, 1e-12, z)[:, None], camera.distortion)
    return np.stack([camera.fx * xy[:, 0] + camera.cx, camera.fy * xy[:, 1] + camera.cy, z], axis=1)


def pinhole(camera: Camera) -> Camera:
    """The same camera without distortion: focal length, principal point and size stay."""
    return camera if camera.distortion is None else replace(camera, distortion=None)


def largest_radius(distortion: Distortion, limit: float) -> float:
    """The largest r <= `limit` up to which the distorted radius grows.

    Beyond it the polynomial folds back and would fetch wrong pixels from inside the picture.
    """
    r = np.linspace(0.0, limit, 1024)
    images = distort(np.stack([r, np.zeros_like(r)], axis=1), _radial_only(distortion))[:, 0]
    falling = np.flatnonzero(np.diff(images) <= 0)
    return float(limit if len(falling) == 0 else r[falling[0]])


def _radial_only(distortion: Distortion) -> Distortion:
    p = list(distortion.params)
    if distortion.model != "fisheye":
        p[2:4] = [0.0] * len(p[2:4])
    if distortion.model == "thin_prism":
        p[6:8] = [0.0, 0.0]
    return Distortion(distortion.model, tuple(p))


def undistortion_map(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of the pinhole picture comes from in the picture as taken.

    Returns:
        source [h, w, 2] float32: pixel coordinates (centres at +0.5) in the distorted picture.
        valid [h, w] bool: the source lies inside the picture, half a pixel of replicated border included.
    """
    columns = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    rows = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    xy = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    out = distort(xy, camera.distortion) * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    inside = np.all((out >= 0) & (out <= [camera.width, camera.height]), axis=1)
    if camera.distortion is not None:
        r = np.hypot(xy[:, 0], xy[:, 1])
        inside &= r <= largest_radius(camera.distortion, float(r.max()))
    shape = (camera.height, camera.width)
    return out.astype(np.float32).reshape(*shape, 2), inside.reshape(shape)
