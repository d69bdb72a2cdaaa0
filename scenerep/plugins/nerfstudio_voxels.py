"""`scenerep-voxels` and `scenerep-mip-voxels`: nerfstudio models around the native march (voxels/autograd.py).

The grid is a torch parameter and nerfstudio's optimiser steps all of it, which takes most of the time of a step: the
trainer of `scenerep train voxels` steps only what rays touch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor, nn

from scenerep.plugins.images import image_metrics
from scenerep.voxels.autograd import march_grid, march_levels
from scenerep.voxels.pyramid import CHANNELS
from scenerep.voxels.shading import FEATURES, FREQUENCIES, INPUTS, WIDTH
from scenerep.voxels.space import Space

_RADIUS = 0.5  # of a pixel's width; nerfstudio tells its area at distance 1


@dataclass
class VoxelsModelConfig(ModelConfig):
    """A radiance field on one grid."""

    _target: type = field(default_factory=lambda: VoxelsModel)
    resolution: int = 128
    """Voxels along each side of the grid; a half of them in the inner box."""
    inner: float = 0.5
    """Half side of the inner box, in nerfstudio's units (the cameras lie within 1). All else is contracted."""
    sh_degree: int = 1
    """Degree of the view-dependent colour, 0 or 1."""
    background: str = "black"
    """Colour behind the scene: black, white or random (in training)."""


@dataclass
class MipVoxelsModelConfig(VoxelsModelConfig):
    """A radiance field on a pyramid of grids, shaded pixel by pixel."""

    _target: type = field(default_factory=lambda: MipVoxelsModel)
    levels: int = 4
    """Levels of the pyramid."""


class VoxelsModel(Model):
    """Raw density and SH on a grid."""

    config: VoxelsModelConfig

    def populate_modules(self) -> None:
        super().populate_modules()
        n, half = self.config.resolution + 1, self.config.inner
        self.space = Space((n, n, n), np.array([[-half] * 3, [half] * 3]), contracted=True)
        self.seed = 0
        self.make_parameters()

    def make_parameters(self) -> None:
        """The module's parameters."""
        self.values = nn.Parameter(torch.zeros(int(np.prod(self.space.size)), CHANNELS))

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"grid": [self.values]}

    def march(
        self, origins: Tensor, directions: Tensor, radii: Tensor, seed: int | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(rgb on black [n, 3], alpha [n], depth [n])."""
        return march_grid(self.values, self.space, origins, directions, sh_degree=self.config.sh_degree, seed=seed)

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:
        shape = ray_bundle.origins.shape[:-1]
        origins = ray_bundle.origins.reshape(-1, 3)
        directions = nn.functional.normalize(ray_bundle.directions.reshape(-1, 3), dim=-1)
        radii = _RADIUS * ray_bundle.pixel_area.reshape(-1).sqrt()
        seed = None
        if self.training:
            self.seed += 1
            seed = self.seed
        rgb, alpha, depth = self.march(origins, directions, radii, seed)
        background = self._background(rgb)
        rgb = rgb + (1 - alpha[:, None]) * background
        return {
            "rgb": rgb.reshape(*shape, 3),
            "accumulation": alpha.reshape(*shape, 1),
            "depth": depth.reshape(*shape, 1),
        }

    def get_rgba_image(self, outputs: dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """[h, w, 4]: alpha as it is, so that `ns-export pointcloud` leaves out what is empty."""
        alpha = outputs[output_name.replace("rgb", "accumulation")]
        return torch.cat((outputs[output_name], alpha), dim=-1)

    def _background(self, rgb: Tensor) -> Tensor:
        if self.config.background == "random" and self.training:
            return torch.rand_like(rgb)
        return torch.full_like(rgb, 1.0 if self.config.background == "white" else 0.0)

    def get_loss_dict(self, outputs: Any, batch: Any, metrics_dict: Any = None) -> dict[str, Tensor]:
        return {"rgb_loss": nn.functional.mse_loss(outputs["rgb"], self._image(batch))}

    def get_metrics_dict(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        error = nn.functional.mse_loss(outputs["rgb"].detach(), self._image(batch))
        return {"psnr": -10 * torch.log10(error)}

    def get_image_metrics_and_images(self, outputs: Any, batch: Any) -> tuple[dict[str, float], dict[str, Tensor]]:
        return image_metrics(outputs, self._image(batch))

    def _image(self, batch: Any) -> Tensor:
        """The batch's pixels, float [..., 3], over black or white where they have alpha."""
        image = batch["image"].to(self.device)
        image = image.float() / 255 if image.dtype == torch.uint8 else image
        if image.shape[-1] == 4:
            behind = 1.0 if self.config.background == "white" else 0.0
            image = image[..., :3] * image[..., 3:] + behind * (1 - image[..., 3:])
        return image


class MipVoxelsModel(VoxelsModel):
    """Raw density and features on a pyramid, and the network of voxels/shading.py in torch."""

    config: MipVoxelsModelConfig

    def make_parameters(self) -> None:
        sizes = [[((n - 1) >> k) + 1 for n in self.space.size] for k in range(self.config.levels)]
        self.grids = nn.ParameterList([nn.Parameter(torch.zeros(int(np.prod(size)), CHANNELS)) for size in sizes])
        last = nn.Linear(WIDTH, 3)
        nn.init.constant_(last.bias, -3.0)
        self.network = nn.Sequential(nn.Linear(INPUTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), last)

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"grid": list(self.grids), "network": list(self.network.parameters())}

    def march(
        self, origins: Tensor, directions: Tensor, radii: Tensor, seed: int | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        features, alpha, depth = march_levels(
            list(self.grids), self.space, origins, directions, radii, features=FEATURES, seed=seed
        )
        parts = [features, directions]
        for k in range(FREQUENCIES):
            parts += [torch.sin(2**k * directions), torch.cos(2**k * directions)]
        added = torch.sigmoid(self.network(torch.cat(parts, dim=1)))
        return features[:, :3] + alpha[:, None] * added, alpha, depth
