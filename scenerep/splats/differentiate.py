"""Pictures, their loss, and its gradient by the arrays of a splat scene, on native kernels and numpy arrays."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from scenerep.geometry.cameras import Camera
from scenerep.metrics import L1SSIM
from scenerep.native import native
from scenerep.splats.targets import Target


@dataclass(frozen=True)
class View:
    """What one comparison depends on besides the scene.

    exposure: [3, 4] float32, picture = rgb @ exposure[:, :3].T + exposure[:, 3], or None. `opacity_weight` and
    `scale_weight` are those of the mean opacity and mean standard deviation in the loss.
    """

    target: Target
    camera: Camera
    background: np.ndarray
    sh_degree: int
    opacity_weight: float = 0.0
    scale_weight: float = 0.0
    depth_weight: float = 0.0
    exposure: np.ndarray | None = None
    want_pose: bool = False


@dataclass(frozen=True)
class Gradients:
    """loss: of picture and depth. arrays: by name, valid in the rows that are `visible` (uint8 [n]) and, for sh, in the
    columns of the degree in use; overwritten by the next call. Gradients [3, 4] of the exposure and of the pose."""

    loss: float
    arrays: dict[str, np.ndarray]
    visible: np.ndarray
    exposure: np.ndarray | None
    pose: np.ndarray | None


class Differentiator:
    """Keeps its memory between calls.

    Args:
        ssim_weight: Of D-SSIM against L1.
        antialiased: Of the scene.

    Attributes:
        raster: The native rasteriser; after `compare` it holds the gradients.
    """

    def __init__(self, ssim_weight: float, antialiased: bool) -> None:
        self.raster = native().Rasterizer()
        self._loss = L1SSIM(ssim_weight)
        self._antialiased = antialiased
        self._grads: dict[str, np.ndarray] = {}
        self._visible = np.zeros(0, dtype=np.uint8)
        self._pictures: dict[tuple[int, int], tuple[np.ndarray, ...]] = {}
        self.seconds: dict[str, float] = {}  # of the parts of the last call, for benchmarks

    def __call__(self, params: dict[str, np.ndarray], view: View) -> Gradients:
        """Draws, compares, differentiates; `params` are the arrays of a scene, named and ordered as in `Gaussians`."""
        loss, v_exposure = self.compare(params, view)
        pose = np.zeros((3, 4)) if view.want_pose else None
        found = self.gradients(params, view, pose)
        return replace(found, loss=loss, exposure=v_exposure)

    def compare(self, params: dict[str, np.ndarray], view: View) -> tuple[float, np.ndarray | None]:
        """Loss and gradient by the exposure; the gradients by the scene are left in `raster`, to be used or fetched."""
        native()  # keeps the pool at torch's number of threads
        rgb, alpha, depth, v_rgb = self._buffers(view.camera)
        use_depth = view.target.depth is not None and view.depth_weight > 0
        clock = [time.perf_counter()]
        self._draw(params, view, rgb, alpha, depth if use_depth else None)
        clock.append(time.perf_counter())
        loss, v_exposure = self._picture_loss(view, rgb, v_rgb)
        v_alpha = v_depth = None
        if use_depth:
            depth_loss, v_alpha, v_depth = _depth_loss(view, alpha, depth)
            loss += depth_loss
        clock.append(time.perf_counter())
        self.raster.backward_colour(rgb, alpha, depth if use_depth else None, v_rgb, v_alpha, v_depth, False)
        clock.append(time.perf_counter())
        self.seconds = dict(zip(("forward", "loss", "backward"), np.diff(clock)))
        return loss, v_exposure

    def gradients(
        self,
        params: dict[str, np.ndarray],
        view: View,
        pose: np.ndarray | None = None,
        statistics: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    ) -> Gradients:
        """What `compare` left, as arrays (loss and exposure are not known here).

        Args:
            pose: [3, 4] float64, to be filled with the gradient by camera_from_world.
            statistics: Sums to add to, float32 [n]: length of the screen gradient, and 1 for each time in view.
        """
        n = len(params["means"])
        self._make_room(params, n)
        visible = self._visible[:n]
        self.raster.visible(visible)
        grads = {name: g[:n] for name, g in self._grads.items()}
        self.raster.parameter_gradients(
            *grads.values(), None, None, pose, True, *statistics, view.opacity_weight / n, view.scale_weight / (3 * n)
        )
        return Gradients(0.0, grads, visible, None, pose)

    def pull_back(self, params: dict[str, np.ndarray], view: View, v_rgb: np.ndarray) -> Gradients:
        """Gradients of sum(v_rgb * picture) for a given `v_rgb` float32 [h, w, 3]; the loss is not computed (0)."""
        rgb, alpha, _, _ = self._buffers(view.camera)
        self._draw(params, view, rgb, alpha, None)
        self.raster.backward_colour(rgb, alpha, None, v_rgb, None, None, False)
        return self.gradients(params, view)

    def _draw(
        self, params: dict[str, np.ndarray], view: View, rgb: np.ndarray, alpha: np.ndarray, depth: np.ndarray | None
    ) -> None:
        camera = view.camera
        self.raster.prepare(
            *params.values(),
            np.ascontiguousarray(camera.camera_from_world[:3]),
            np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
            camera.width,
            camera.height,
            view.sh_degree,
            self._antialiased,
        )
        self.raster.blend_colour(rgb, alpha, depth, None, [float(b) for b in view.background])

    def _make_room(self, params: dict[str, np.ndarray], rows: int) -> None:
        if len(self._visible) < rows or self._grads["sh"].shape[1:] != params["sh"].shape[1:]:
            # Rows out of view and columns of unused SH degrees are never written nor read: zeros are for tidiness.
            self._grads = {name: np.zeros((rows, *a.shape[1:]), np.float32) for name, a in params.items()}
            self._visible = np.zeros(rows, dtype=np.uint8)

    def _buffers(self, camera: Camera) -> tuple[np.ndarray, ...]:
        size = (camera.height, camera.width)
        if size not in self._pictures:
            if len(self._pictures) > 8:
                self._pictures.clear()
            shapes = ((*size, 3), size, size, (*size, 3))
            self._pictures[size] = tuple(np.empty(shape, dtype=np.float32) for shape in shapes)
        return self._pictures[size]

    def _picture_loss(self, view: View, rgb: np.ndarray, v_rgb: np.ndarray) -> tuple[float, np.ndarray | None]:
        """Loss and, in `v_rgb`, its gradient; gradient of the exposure if there is one."""
        picture = rgb
        if view.exposure is not None:
            picture = rgb @ view.exposure[:, :3].T + view.exposure[:, 3]
        target = view.target
        loss = self._loss.loss_and_gradient(picture, target.rgb, mask=target.mask, gradient=v_rgb).loss
        if view.exposure is None:
            return loss, None
        flat, v = rgb.reshape(-1, 3), v_rgb.reshape(-1, 3)
        v_exposure = np.concatenate([v.T @ flat, v.sum(axis=0)[:, None]], axis=1)
        np.matmul(v.copy(), view.exposure[:, :3], out=v)
        return loss, v_exposure


def _depth_loss(view: View, alpha: np.ndarray, weighted: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean absolute error of the expected depth where both are known, and its gradients by alpha and weighted depth."""
    truth = view.target.depth
    assert truth is not None
    known = (truth > 0) & (alpha > 0.5)
    if view.target.mask is not None:
        known &= view.target.mask != 0
    safe = np.where(known, alpha, 1.0)
    error = np.where(known, weighted / safe - truth, 0.0)
    weight = view.depth_weight / max(1, int(known.sum()))
    v = np.sign(error) * (weight / safe)
    return (
        weight * float(np.abs(error).sum()),
        np.ascontiguousarray(-v * weighted / safe, dtype=np.float32),
        np.ascontiguousarray(v, dtype=np.float32),
    )
