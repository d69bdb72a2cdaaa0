"""Argument checks of the door. Cheap: one sum per array tells whether all of it is finite."""

from __future__ import annotations

import torch
from torch import Tensor

from scenerep.errors import SceneRepError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.sh import degree_of


def check_arguments(
    tensors: dict[str, Tensor], camera: Camera, background: Tensor, features: Tensor | None, camera_from_world: Tensor
) -> None:
    """Refuse wrong shapes, mixed dtypes and devices, NaN and infinity. `tensors` holds the five parameter arrays."""
    means, sh = tensors["means"], tensors["sh"]
    n = means.shape[0] if means.ndim else -1
    shapes = {"means": (n, 3), "log_scales": (n, 3), "quats": (n, 4), "opacity_logits": (n,)}
    shapes["sh"] = (n, sh.shape[1] if sh.ndim == 3 else -1, 3)
    shapes |= {"background": (3,), "camera_from_world": (4, 4)}
    arrays = tensors | {"background": background, "camera_from_world": camera_from_world}
    if features is not None:
        shapes["features"] = (n, features.shape[1] if features.ndim == 2 else -1)
        arrays = arrays | {"features": features}
    if means.dtype not in (torch.float32, torch.float64):
        raise SceneRepError(f"means has dtype {means.dtype}", "use float32 (or float64 with the reference)")
    for name, array in arrays.items():
        _check_array(name, array, shapes[name], means)
    degree_of(sh.shape[1])
    _check_camera(camera)


def _check_array(name: str, array: Tensor, shape: tuple[int, ...], means: Tensor) -> None:
    if tuple(array.shape) != shape:
        expected = ", ".join("any" if size < 0 else str(size) for size in shape)
        raise SceneRepError(f"{name} has shape {tuple(array.shape)}, expected ({expected})")
    if array.dtype != means.dtype or array.device != means.device:
        raise SceneRepError(
            f"{name} is {array.dtype} on {array.device}, means is {means.dtype} on {means.device}",
            f"convert it with {name}.to(means)",
        )
    values = array.detach()
    # Infinity and NaN survive a sum; a sum may also overflow by itself, so a bad one is looked at closely.
    if not torch.isfinite(values.sum()):
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            index = tuple(bad[0].tolist())
            raise SceneRepError(
                f"{name}[{', '.join(map(str, index))}] is {values[index].item()} ({len(bad)} such values in {name})",
                "every parameter must be finite; training diverged or the file is damaged",
            )


def _check_camera(camera: Camera) -> None:
    if camera.width < 1 or camera.height < 1:
        raise SceneRepError(f"the camera's picture has size {camera.width} x {camera.height}", "both must be >= 1")
    if not (camera.fx > 0 and camera.fy > 0):
        raise SceneRepError(f"the camera's focal lengths are {camera.fx}, {camera.fy}", "both must be > 0")
    if camera.distortion is not None and not camera.distortion.is_zero:
        raise SceneRepError(
            f"the camera has {camera.distortion.model} lens distortion; only pinholes can be drawn",
            "undistort the pictures and take the pinhole of Capture.camera(i)",
        )
