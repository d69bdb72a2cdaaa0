"""Camera: a pinhole with optional lens distortion.

Axes are OpenCV's everywhere (x right, y down, z forward); pixel centres are at +0.5, so the picture spans
[0, width] x [0, height] and the principal point of a symmetric camera is (width / 2, height / 2).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

DistortionModel = Literal["opencv", "fisheye", "thin_prism"]


@dataclass(frozen=True)
class Distortion:
    """Lens distortion in the parameters of OpenCV and COLMAP.

    `opencv`: k1 k2 p1 p2 [k3 [k4 k5 k6]] (rational; tangential p1 p2). `fisheye`: k1 k2 k3 k4 of the equidistant model.
    `thin_prism`: COLMAP's THIN_PRISM_FISHEYE k1 k2 p1 p2 k3 k4 sx1 sy1.
    """

    model: DistortionModel
    params: tuple[float, ...]

    @property
    def is_zero(self) -> bool:
        return self.model == "opencv" and all(p == 0.0 for p in self.params)


@dataclass(frozen=True)
class Camera:
    """Intrinsics in pixels of the picture, and the pose.

    world_from_camera: [4, 4] float64, OpenCV axes.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    world_from_camera: np.ndarray = field(default_factory=lambda: np.eye(4))
    distortion: Distortion | None = None

    @property
    def camera_from_world(self) -> np.ndarray:
        """[4, 4] float64, the rigid inverse of `world_from_camera`."""
        rotation = self.world_from_camera[:3, :3].T
        out = np.eye(4)
        out[:3, :3] = rotation
        out[:3, 3] = -rotation @ self.world_from_camera[:3, 3]
        return out

    @property
    def centre(self) -> np.ndarray:
        """[3] position of the optical centre in the world."""
        return self.world_from_camera[:3, 3]

    @property
    def intrinsics(self) -> np.ndarray:
        """[3, 3] float64 matrix K."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    def resized(self, width: int, height: int) -> Camera:
        """The same view in a picture of another size. Pixel centres at +0.5 make this a plain scaling."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy, width=width, height=height
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points [n, 3] to pixels and depth [n, 3] (u, v, z); ignores distortion. Points behind have z <= 0."""
        local = points @ self.camera_from_world[:3, :3].T + self.camera_from_world[:3, 3]
        z = local[:, 2]
        safe = np.where(np.abs(z) < 1e-12, 1e-12, z)
        return np.stack([self.fx * local[:, 0] / safe + self.cx, self.fy * local[:, 1] / safe + self.cy, z], axis=1)


def camera_entry(camera: Camera) -> dict[str, Any]:
    """A camera without distortion as JSON values, for viewers: size and intrinsics in pixels, and the first three rows
    of `world_from_camera`, OpenCV axes. Rounded to what a picture can show."""
    return {
        "width": camera.width,
        "height": camera.height,
        "fx": round(camera.fx, 3),
        "fy": round(camera.fy, 3),
        "cx": round(camera.cx, 3),
        "cy": round(camera.cy, 3),
        "world_from_camera": camera.world_from_camera[:3].round(5).tolist(),
    }


def camera_from_entry(entry: Any) -> Camera | None:
    """What `camera_entry` made; None if these JSON values, which may come from anywhere, are no camera."""
    try:
        fx, fy, cx, cy = (float(entry[key]) for key in ("fx", "fy", "cx", "cy"))
        width, height = int(entry["width"]), int(entry["height"])
        rows = np.array(entry["world_from_camera"], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if rows.shape != (3, 4) or not np.isfinite([fx, fy, cx, cy, *rows.flat]).all():
        return None
    if not (min(fx, fy) > 0 and 0 < width <= 1 << 16 and 0 < height <= 1 << 16):
        return None
    if np.abs(rows[:, :3].T @ rows[:, :3] - np.eye(3)).max() > 1e-2 or np.linalg.det(rows[:, :3]) < 0:
        return None
    return Camera(fx, fy, cx, cy, width, height, np.vstack([rows, [0.0, 0.0, 0.0, 1.0]]))
