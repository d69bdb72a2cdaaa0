"""Pictures, their loss, and its gradient by the arrays of a splat scene, on native kernels and numpy arrays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from scenerep.geometry.cameras import Camera
from scenerep.metrics import L1SSIM
from scenerep.native import native
from scenerep.splats.targets import Target

# Pixels that NumPy works on at once: what it makes on the way is small enough to come from memory that was just freed.
_BAND = 4096


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
        self._exposed = np.zeros((0, 0, 3), dtype=np.float32)
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
        rgb, alpha, v_rgb, depth, v_alpha, v_depth = self._buffers(view.camera)
        use_depth = view.target.depth is not None and view.depth_weight > 0
        clock = [time.perf_counter()]
        self._draw(params, view, rgb, alpha, depth if use_depth else None)
        clock.append(time.perf_counter())
        loss, v_exposure = self._picture_loss(view, rgb, v_rgb)
        if use_depth:
            loss += _depth_loss(view, alpha, depth, v_alpha, v_depth)
        clock.append(time.perf_counter())
        by_depth = (depth, v_rgb, v_alpha, v_depth) if use_depth else (None, v_rgb, None, None)
        self.raster.backward_colour(rgb, alpha, *by_depth, False)
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
        rgb, alpha = self._buffers(view.camera)[:2]
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
            # rgb, alpha, and v_rgb; depth, v_alpha and v_depth. Pages that are never touched cost nothing.
            shapes = ((*size, 3), size, (*size, 3), size, size, size)
            self._pictures[size] = tuple(np.empty(shape, dtype=np.float32) for shape in shapes)
        return self._pictures[size]

    def _picture_loss(self, view: View, rgb: np.ndarray, v_rgb: np.ndarray) -> tuple[float, np.ndarray | None]:
        """Loss and, in `v_rgb`, its gradient; gradient of the exposure if there is one."""
        target, exposure = view.target, view.exposure
        if exposure is None:
            return self._loss.loss_and_gradient(rgb, target.rgb, mask=target.mask, gradient=v_rgb).loss, None
        if self._exposed.shape != rgb.shape:
            self._exposed = np.empty_like(rgb)
        flat, exposed, v = rgb.reshape(-1, 3), self._exposed.reshape(-1, 3), v_rgb.reshape(-1, 3)
        for band in _bands(len(flat)):
            np.matmul(flat[band], exposure[:, :3].T, out=exposed[band])
            exposed[band] += exposure[:, 3]
        loss = self._loss.loss_and_gradient(self._exposed, target.rgb, mask=target.mask, gradient=v_rgb).loss
        v_exposure = np.concatenate([v.T @ flat, v.sum(axis=0)[:, None]], axis=1)
        for band in _bands(len(flat)):
            v[band] = v[band] @ exposure[:, :3]
        return loss, v_exposure


def _depth_loss(view: View, alpha: np.ndarray, weighted: np.ndarray, v_alpha: np.ndarray, v_depth: np.ndarray) -> float:
    """Mean absolute error of the expected depth where both are known; fills its gradients by alpha and by depth."""
    truth, mask = view.target.depth, view.target.mask
    assert truth is not None
    flat = [a.reshape(-1) for a in (alpha, weighted, truth, v_alpha, v_depth)]
    keep = None if mask is None else mask.reshape(-1)

    def known(band: slice) -> np.ndarray:
        found = (flat[2][band] > 0) & (flat[0][band] > 0.5)
        return found if keep is None else found & (keep[band] != 0)

    bands = list(_bands(alpha.size))
    weight = view.depth_weight / max(1, sum(int(known(band).sum()) for band in bands))
    total = 0.0
    for band in bands:
        here = known(band)
        a, d, t, to_alpha, to_depth = (array[band] for array in flat)
        safe = np.where(here, a, 1.0)
        error = np.where(here, d / safe - t, 0.0)
        to_depth[:] = np.sign(error) * (weight / safe)
        to_alpha[:] = -to_depth * d / safe
        total += float(np.abs(error).sum())
    return weight * total


def _bands(pixels: int) -> Iterator[slice]:
    return (slice(begin, begin + _BAND) for begin in range(0, pixels, _BAND))
