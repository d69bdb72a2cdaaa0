"""Scenes made smaller, or joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scenerep.errors import ConfigError
from scenerep.geometry.sh import coefficient_count
from scenerep.scenes import Gaussians


def cut_degree(scene: Gaussians, degree: int) -> Gaussians:
    """The scene with SH of at most `degree`; a lower degree stays as it is.

    Raises:
        SceneRepError: if the degree is not 0 to 3.
    """
    return replace(scene, sh=scene.sh[:, : coefficient_count(degree)])


def decimate(scene: Gaussians, count: int, weights: np.ndarray) -> Gaussians:
    """The `count` Gaussians with the largest weights [n] (render.significance), in their order; ties go to the first.

    Raises:
        ConfigError: if the count is negative, or there is not a weight for each Gaussian.
    """
    if count < 0 or weights.shape != (len(scene),):
        raise ConfigError(f"cannot keep {count} of {len(scene)} Gaussians by {weights.shape} weights")
    return scene.select(np.sort(np.argsort(-weights, kind="stable")[:count]))


def merge(scenes: Sequence[Gaussians]) -> Gaussians:
    """All Gaussians of the scenes, one scene after the other; lower SH degrees are padded with zeros.

    Raises:
        ConfigError: if there are no scenes, or some were trained antialiased and some not.
    """
    if not scenes:
        raise ConfigError("there is nothing to merge")
    if len({scene.antialiased for scene in scenes}) > 1:
        raise ConfigError(
            "scenes trained antialiased and scenes trained without it cannot be merged",
            "they are drawn by different rules: retrain one of them",
        )
    k = max(scene.sh.shape[1] for scene in scenes)
    return Gaussians(
        np.concatenate([scene.means for scene in scenes]),
        np.concatenate([scene.log_scales for scene in scenes]),
        np.concatenate([scene.quats for scene in scenes]),
        np.concatenate([scene.opacity_logits for scene in scenes]),
        np.concatenate([np.pad(s.sh, ((0, 0), (0, k - s.sh.shape[1]), (0, 0))) for s in scenes]),
        antialiased=scenes[0].antialiased,
    )
