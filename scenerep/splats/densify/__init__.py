"""Strategies that change the number of Gaussians while training, behind one interface."""

from __future__ import annotations

from scenerep.splats.config import SplatsConfig
from scenerep.splats.densify.base import Strategy
from scenerep.splats.densify.budget import Budget
from scenerep.splats.densify.classic import Classic
from scenerep.splats.densify.mcmc import Mcmc

__all__ = ["Budget", "Classic", "Mcmc", "Strategy", "make_strategy"]


def make_strategy(config: SplatsConfig, initial: int, scene_scale: float) -> Strategy:
    """The strategy that the configuration names, for a training that started with `initial` Gaussians."""
    budget = config.resolved_max_gaussians()
    kind = {"budget": Budget, "mcmc": Mcmc, "classic": Classic}[config.densify.strategy]
    return kind(config.densify, budget, initial, scene_scale)
