"""`scenerep-splats`: nerfstudio's splatfacto with our rasteriser, which runs on a plain CPU.

Parameters, densification, losses, checkpoints and export are splatfacto's, so everything that takes a splatfacto model
takes this one; what draws is `scenerep.render.rasterize`: the native kernel on a CPU, gsplat on CUDA.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.models.splatfacto import SplatfactoModel, SplatfactoModelConfig
from torch import Tensor, nn
from torchmetrics.image import lpip

from scenerep.captures import Points
from scenerep.geometry.cameras import Camera
from scenerep.plugins.images import image_metrics
from scenerep.render import rasterize
from scenerep.render.types import ScreenProbe
from scenerep.splats.config import InitConfig
from scenerep.splats.initialise import initial_gaussians

_START_OPACITY = 0.1
# Cameras of nerfstudio look along -z with y up, ours along z with y down.
_FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))


@dataclass
class SplatsModelConfig(SplatfactoModelConfig):
    """splatfacto's options; its densification counts gradients as usual."""

    _target: type = field(default_factory=lambda: SplatsModel)
    use_absgrad: bool = False


class SplatsModel(SplatfactoModel):
    """Splatfacto, drawn by scenerep."""

    config: SplatsModelConfig

    def populate_modules(self) -> None:
        # Splatfacto makes an LPIPS network, whose weights are downloaded, for one evaluation metric; and it starts from
        # points on a CUDA device only.
        used = lpip.LearnedPerceptualImagePatchSimilarity
        points, self.seed_points = self.seed_points, None
        lpip.LearnedPerceptualImagePatchSimilarity = lambda **_: nn.Identity()  # type: ignore[assignment,misc]
        try:
            super().populate_modules()
        finally:
            lpip.LearnedPerceptualImagePatchSimilarity = used  # type: ignore[misc]
            self.seed_points = points
        if points is not None and not self.config.random_init and len(points[0]) > 3:
            self._start_from(points[0].cpu().numpy(), points[1].cpu().numpy())

    def _start_from(self, xyz: np.ndarray, rgb: np.ndarray) -> None:
        """Round Gaussians at points [n, 3] in their colours [n, 3] of 0 to 255, as wide as the space between them."""
        given = Points(xyz, rgb.clip(0, 255).astype(np.uint8))
        config = InitConfig(points=len(given), opacity=_START_OPACITY, scale=1.0)
        scene = initial_gaussians(given, config, self.config.sh_degree, 1.0, len(given), np.random.default_rng(0))
        sh = torch.from_numpy(scene.sh)
        start = {
            "means": torch.from_numpy(scene.means),
            "scales": torch.from_numpy(scene.log_scales),
            "quats": torch.from_numpy(scene.quats),
            "features_dc": sh[:, 0].contiguous(),
            "features_rest": sh[:, 1:].contiguous(),
            "opacities": torch.from_numpy(scene.opacity_logits)[:, None],
        }
        for name, values in start.items():
            self.gauss_params[name] = nn.Parameter(values)

    def get_outputs(self, camera: Cameras) -> dict[str, Any]:
        if not isinstance(camera, Cameras):
            raise TypeError("scenerep-splats draws whole pictures: use a full-image data manager")
        if self.training:
            poses = self.camera_optimizer.apply_to_camera(camera)
            background = self._get_background_color()
        else:
            poses = camera.camera_to_worlds
            background = self.background_color
        background = background.to(self.device)
        factor = self._get_downscale_factor()
        camera.rescale_output_resolution(1 / factor)
        ours, camera_from_world = _camera(camera, poses)
        camera.rescale_output_resolution(factor)

        keep = None
        if self.crop_box is not None and not self.training:
            keep = self.crop_box.within(self.means).squeeze()
            if int(keep.sum()) == 0:
                return self.get_empty_outputs(ours.width, ours.height, background)
        means, scales, quats, opacities = (
            values if keep is None else values[keep] for values in (self.means, self.scales, self.quats, self.opacities)
        )
        dc, rest = (x if keep is None else x[keep] for x in (self.features_dc, self.features_rest))
        degree = min(self.step // self.config.sh_degree_interval, self.config.sh_degree)
        self.probe = ScreenProbe() if self.training else None
        drawn = rasterize(
            means,
            scales,
            quats,
            opacities[:, 0],
            torch.cat([dc[:, None], rest], dim=1),
            ours,
            sh_degree=degree,
            background=background,
            antialiased=self.config.rasterize_mode == "antialiased",
            depth=True,
            camera_from_world=camera_from_world,
            probe=self.probe,
        )
        self.drawn_size = ours.width, ours.height
        depth = drawn.depth
        assert depth is not None
        if not self.training:
            background = background.expand(ours.height, ours.width, 3)
        alpha = drawn.alpha[..., None]
        depth = torch.where(alpha > 0, depth[..., None], depth.detach().max())
        return {"rgb": drawn.rgb.clamp(0, 1), "depth": depth, "accumulation": alpha, "background": background}

    def step_post_backward(self, step: int) -> None:
        """Hands the screen gradients to splatfacto's strategy in the place of gsplat's."""
        assert self.probe is not None
        assert self.probe.visible is not None
        if self.probe.gradient is None:
            return
        width, height = self.drawn_size
        self.info = {
            "width": width,
            "height": height,
            "n_cameras": 1,
            "radii": self.probe.visible[None].float(),
            "gaussian_ids": None,
            "means2d": SimpleNamespace(grad=self.probe.gradient[None]),
        }
        super().step_post_backward(step)

    def get_image_metrics_and_images(self, outputs: Any, batch: Any) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Without LPIPS, whose network splatfacto would download."""
        truth = self.composite_with_background(self.get_gt_img(batch["image"]), outputs["background"])
        return image_metrics(outputs, truth)


def _camera(camera: Cameras, poses: Tensor) -> tuple[Camera, Tensor]:
    """Our camera and its pose [4, 4], which may take gradients, of one of nerfstudio's."""
    fx, fy, cx, cy = (float(getattr(camera, name).reshape(-1)[0]) for name in ("fx", "fy", "cx", "cy"))
    width, height = int(camera.width.reshape(-1)[0]), int(camera.height.reshape(-1)[0])
    pose = poses.reshape(3, 4)
    world_from_camera = torch.cat([pose, pose.new_tensor([[0, 0, 0, 1]])]) @ _FLIP.to(pose)
    rotation = world_from_camera[:3, :3].T
    top = torch.cat([rotation, -rotation @ world_from_camera[:3, 3:]], dim=1)
    camera_from_world = torch.cat([top, pose.new_tensor([[0, 0, 0, 1]])])
    own = Camera(fx, fy, cx, cy, width, height, world_from_camera.detach().double().cpu().numpy())
    return own, camera_from_world
