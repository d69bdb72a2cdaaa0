"""What nerfstudio finds by the entry points `nerfstudio.method_configs`: three methods with their configurations."""

from __future__ import annotations

from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManagerConfig
from nerfstudio.data.datamanagers.full_images_datamanager import FullImageDatamanagerConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from nerfstudio.engine.schedulers import ExponentialDecaySchedulerConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig
from nerfstudio.plugins.types import MethodSpecification

from scenerep.plugins.nerfstudio_splats import SplatsModelConfig
from scenerep.plugins.nerfstudio_voxels import MipVoxelsModelConfig, VoxelsModelConfig


def _fixed(rate: float) -> dict:
    return {"optimizer": AdamOptimizerConfig(lr=rate, eps=1e-15), "scheduler": None}


def _falling(rate: float, final: float, steps: int) -> dict:
    scheduler = ExponentialDecaySchedulerConfig(lr_final=final, max_steps=steps)
    return {"optimizer": AdamOptimizerConfig(lr=rate, eps=1e-15), "scheduler": scheduler}


_SPLAT_STEPS, _VOXEL_STEPS = 30_000, 20_000
_VIEWER = ViewerConfig(num_rays_per_chunk=1 << 15)

splats = MethodSpecification(
    config=TrainerConfig(
        method_name="scenerep-splats",
        steps_per_eval_image=100,
        steps_per_eval_batch=0,
        steps_per_save=2000,
        steps_per_eval_all_images=1000,
        max_num_iterations=_SPLAT_STEPS,
        mixed_precision=False,
        pipeline=VanillaPipelineConfig(
            datamanager=FullImageDatamanagerConfig(
                dataparser=NerfstudioDataParserConfig(load_3D_points=True),
                cache_images="gpu",  # of the model's device: "cpu" pins them, which needs CUDA
                cache_images_type="uint8",
            ),
            model=SplatsModelConfig(),
        ),
        optimizers={
            "means": _falling(1.6e-4, 1.6e-6, _SPLAT_STEPS),
            "features_dc": _fixed(2.5e-3),
            "features_rest": _fixed(2.5e-3 / 20),
            "opacities": _fixed(5e-2),
            "scales": _fixed(5e-3),
            "quats": _fixed(1e-3),
            "camera_opt": _falling(1e-4, 5e-7, _SPLAT_STEPS),
            "bilateral_grid": _falling(2e-3, 1e-4, _SPLAT_STEPS),
        },
        viewer=_VIEWER,
        vis="viewer",
    ),
    description="scenerep: Gaussian splatting by its own rasteriser, on a plain CPU too",
)


def _voxel_trainer(name: str, model: VoxelsModelConfig, optimizers: dict) -> TrainerConfig:
    return TrainerConfig(
        method_name=name,
        steps_per_eval_batch=500,
        steps_per_eval_image=500,
        steps_per_save=2000,
        max_num_iterations=_VOXEL_STEPS,
        mixed_precision=False,
        pipeline=VanillaPipelineConfig(
            datamanager=VanillaDataManagerConfig(
                dataparser=NerfstudioDataParserConfig(),
                train_num_rays_per_batch=4096,
                eval_num_rays_per_batch=4096,
            ),
            model=model,
        ),
        optimizers=optimizers,
        viewer=_VIEWER,
        vis="viewer",
    )


voxels = MethodSpecification(
    config=_voxel_trainer(
        "scenerep-voxels",
        VoxelsModelConfig(eval_num_rays_per_chunk=1 << 15),
        {"grid": _falling(0.1, 0.01, _VOXEL_STEPS)},
    ),
    description="scenerep: a radiance field on a voxel grid, by its native ray marcher",
)

mip_voxels = MethodSpecification(
    config=_voxel_trainer(
        "scenerep-mip-voxels",
        MipVoxelsModelConfig(eval_num_rays_per_chunk=1 << 15),
        {"grid": _falling(0.1, 0.01, _VOXEL_STEPS), "network": _falling(2e-3, 2e-4, _VOXEL_STEPS)},
    ),
    description="scenerep: an anti-aliased radiance field on a pyramid of voxel grids, after Mip-VoG",
)
