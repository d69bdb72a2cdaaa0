"""What is left of a held-out view's error once its own pose and colours are taken out.

A training that refines poses, or learns an exposure for each picture, knows neither of a picture that it has not seen.
What then counts against the scene is partly the held-out picture's own error. Fitting six numbers of the camera and an
affine colour map to that picture, with the scene left as it is, takes it out; NeRF-- and BARF measure refined poses in
this way, NeRF in the Wild and mip-NeRF 360 exposures. It is reported beside the plain figures, never in their place:
the fit sees the photograph.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scenerep.evaluation.pictures import Rgb
from scenerep.geometry.cameras import Camera
from scenerep.geometry.quaternions import rotation_from_axis_angle
from scenerep.render import render
from scenerep.render.types import Backend
from scenerep.scenes import Gaussians, Scene

if TYPE_CHECKING:
    from scenerep.voxels.grid import Grid
    from scenerep.voxels.mip_grid import MipGrid

_ITERATIONS = 4
_STEP_PX = 0.25  # of the finite differences: enough to rise above rounding, little enough to be a derivative


def fitted_render(
    scene: Scene | Grid | MipGrid,
    camera: Camera,
    truth: np.ndarray,
    valid: np.ndarray | None,
    background: Rgb,
    backend: Backend = "auto",
) -> np.ndarray:
    """float32 [h, w, 3] in [0, 1]: the render with the pose and colours that fit the photograph best.

    Gauss-Newton on the squared error over a rigid motion in camera axes, its derivatives by differences of renders;
    a step that does not lower the error is halved, and given up in the end. The colours' map [3, 4] is linear least
    squares, solved anew for every render.

    Args:
        truth: The photograph, float32 [h, w, 3] in [0, 1]. valid: bool [h, w], what of it counts; None = all.
    """
    used = slice(None) if valid is None else valid

    def look(motion: np.ndarray) -> np.ndarray:
        image = render(scene, _moved(camera, motion), background=background, backend=backend).rgb.clip(0.0, 1.0)
        return _recoloured(image, truth, used)

    def error(image: np.ndarray) -> np.ndarray:
        return (image - truth)[used].reshape(-1).astype(np.float64)

    steps = np.repeat(_STEP_PX / max(camera.fx, camera.fy), 6)
    steps[3:] *= _distance(scene, camera)  # as many pixels by moving as by turning
    motion = np.zeros(6)
    best = look(motion)
    for _ in range(_ITERATIONS):
        residual = error(best)
        jacobian = np.stack([(error(look(motion + d)) - residual) / np.linalg.norm(d) for d in np.diag(steps)], axis=1)
        normal = jacobian.T @ jacobian
        move = -np.linalg.solve(normal + 1e-6 * np.diag(normal.diagonal() + 1e-12), jacobian.T @ residual)
        for share in (1.0, 0.5, 0.25):
            trial = look(motion + share * move)
            if np.square(error(trial)).sum() < np.square(residual).sum():
                motion, best = motion + share * move, trial
                break
        else:
            break
    return best


def _moved(camera: Camera, motion: np.ndarray) -> Camera:
    """The camera turned by the axis-angle motion[:3] and shifted by motion[3:], both in its own axes."""
    rigid = np.eye(4)
    rigid[:3, :3] = rotation_from_axis_angle(motion[:3])
    rigid[:3, 3] = motion[3:]
    return replace(camera, world_from_camera=camera.world_from_camera @ rigid)


def _recoloured(image: np.ndarray, truth: np.ndarray, used: slice | np.ndarray) -> np.ndarray:
    """image @ A + b, clipped, with the A and b that bring it nearest to the photograph."""
    source, target = image[used].reshape(-1, 3).astype(np.float64), truth[used].reshape(-1, 3).astype(np.float64)
    design = np.concatenate([source, np.ones((len(source), 1))], axis=1)
    # Towards the identity where the picture does not say: a black picture fits any map.
    prior = 1e-3 * max(1, len(source)) * np.eye(4)
    identity = np.eye(4, 3)
    colours = np.linalg.solve(design.T @ design + prior, design.T @ target + prior @ identity)
    return (image @ colours[:3] + colours[3]).clip(0.0, 1.0).astype(np.float32)


def _distance(scene: Scene | Grid | MipGrid, camera: Camera) -> float:
    """Median depth of what is in front of the camera."""
    if isinstance(scene, Gaussians):
        depth = scene.means @ camera.camera_from_world[2, :3] + camera.camera_from_world[2, 3]
        in_front = depth[depth > 0]
    else:
        drawn = render(scene, camera, depth=True)
        assert drawn.depth is not None
        in_front = drawn.depth[drawn.alpha > 0.5]
    return float(np.median(in_front)) if in_front.size else 1.0
