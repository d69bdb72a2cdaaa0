"""Networks and embeddings fitted to a trained scene, before any picture is looked at.

The error of a picture is about sum h d^2 over errors d of the numbers that make up the scene (rdo/curvature.py), so
that D + lambda R can be had without drawing anything. The start is linear: principal components of what primitives of
an anchor share, and of what is left, in units in which h is 1 on average.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from scenerep.coding.anchored import Grid, Layout
from scenerep.coding.quantiser import focus_of, grid_for
from scenerep.compress.compgs.group import group
from scenerep.compress.compgs.model import AnchoredModel
from scenerep.compress.compgs.optimiser import AnchoredAdam
from scenerep.compress.rdo.curvature import Arrays, coordinates
from scenerep.geometry.sh import C0
from scenerep.scenes import Gaussians

_GRID_STEPS = 1024  # of the anchors' grid within the radius of the scene: offsets make up for what it loses
_BATCH = 500  # anchors at a time
_FADED = -8.0  # logit of primitives that fill up a group


@dataclass(frozen=True)
class Target:
    """Numbers that are to be predicted, float32 [n, K, D], and the error that a unit of each costs, likewise."""

    numbers: np.ndarray
    weights: np.ndarray


def start(scene: Gaussians, h: Arrays, layout: Layout, lambda_: float, seed: int) -> tuple[AnchoredModel, Target]:
    """A model close to a scene with unit quaternions.

    Args:
        h: Curvatures of the scene's coded numbers.
        lambda_: Mean squared error per bit.
    """
    x = coordinates(scene)
    members = group(scene.means, layout.coupled)
    importance = x["opacities"] ** 2 * h["opacities"]
    order = np.argsort(-np.where(members < 0, -1, importance[members]), axis=1, kind="stable")
    members = np.take_along_axis(members, order, axis=1)  # the same place in each group means something
    there = (members >= 0)[..., None]
    members = np.where(members < 0, members[:, :1], members)
    means = scene.means[members].astype(np.float64)
    counts = there.sum(axis=1)
    centre, radius = focus_of(scene.means)
    step = radius / _GRID_STEPS
    middle = (means * there).sum(axis=1) / counts
    origin, depth = grid_for(middle, step, centre=centre, radius=radius)
    grid = Grid(origin, float(np.float32(step)), depth, centre, float(np.float32(radius)))
    positions = grid.integers(middle)
    offsets = means - grid.world(positions)[:, None]
    reach = 0.5 * np.log((offsets**2 * there).sum(axis=1) / counts + 1e-12 * radius**2)
    log_scales = x["log_scales"][members]
    deviation = (log_scales * there).sum(axis=1) / counts
    scales = np.concatenate([reach, deviation], axis=1)

    o = x["opacities"][members]
    logits = scene.opacity_logits[members][..., None].clip(_FADED, -_FADED)
    slope = np.maximum(o * (1 - o), 1e-6)  # of the opacity by its logit
    columns = [
        (offsets / np.exp(reach)[:, None], h["positions"][members] * np.exp(2 * reach)[:, None]),
        (log_scales - deviation[:, None], h["log_scales"][members]),
        (x["rotations"][members], h["rotations"][members]),
        (logits, (h["opacities"][members] * slope**2)[..., None]),
        (x["colours"][members] / C0, h["colours"][members] * C0**2),
        (_flat(x["sh"][members], layout), _flat(h["sh"][members], layout)),
    ]
    numbers = np.concatenate([c[0] for c in columns], axis=2).astype(np.float32)
    weights = np.concatenate([c[1] for c in columns], axis=2).astype(np.float32)
    numbers[..., 9] = np.where(there[..., 0], numbers[..., 9], _FADED)
    weights[..., 9] = np.where(there[..., 0], weights[..., 9], weights[..., 9].mean())
    weights = np.where(there | (np.arange(layout.predicted) == 9), weights, 0)
    model = AnchoredModel(layout, grid, positions, scales, seed)
    _linear_start(model, Target(numbers, weights), lambda_)
    return model, Target(numbers, weights)


def _flat(sh: np.ndarray, layout: Layout) -> np.ndarray:
    return sh[:, :, : (layout.sh_degree + 1) ** 2 - 1].reshape(*sh.shape[:2], -1)


@torch.no_grad()
def _linear_start(model: AnchoredModel, target: Target, lambda_: float) -> None:
    c, g = model.layout.reference, model.layout.residual
    n, k, d = target.numbers.shape
    unit = np.sqrt(target.weights.mean(axis=(0, 1))) + 1e-9
    z = target.numbers * unit
    mean = z.mean(axis=(0, 1))
    shared = z.mean(axis=1) - mean
    # A unit of z is a unit of the error, hence one step for all (Gish and Pierce 1968); a finer one for what counts
    # for all primitives of an anchor.
    step = np.sqrt(6 * lambda_ / np.log(2))
    found = mean[None] + np.zeros((n, 1))
    for name, values, size, scale in (("reference", shared, c, step / np.sqrt(k)), ("residual", None, g, step)):
        if values is None:
            values = (z - found[:, None]).reshape(-1, d)
        _, vectors = np.linalg.eigh(values.T @ values)
        basis = np.zeros((d, size))
        kept = min(size, d)
        basis[:, :kept] = vectors[:, ::-1][:, :kept]
        embedding = values @ basis / scale
        if name == "reference":
            found = found + np.round(embedding) @ basis.T * scale
        getattr(model, name).copy_(torch.tensor(embedding.reshape(getattr(model, name).shape), dtype=torch.float32))
        rows = slice(0, c) if name == "reference" else slice(c, c + g)
        spread = max(float(np.sqrt((embedding**2).mean())), 0.1)
        model.embedding_steps[name] = float(np.float32(1 / spread))
        skip = basis.T * scale * spread / unit
        model.weights["prediction_skip"][rows] = torch.tensor(skip, dtype=torch.float32)
        if name == "reference":  # the entropy model takes integers
            for net in ("scales", "residual"):
                model.weights[f"{net}_hidden"][:c] /= spread
    model.weights["prediction_bias"].copy_(torch.tensor(mean / unit, dtype=torch.float32)[None])


def prefit(
    model: AnchoredModel, target: Target, lambda_: float, steps: int, optimiser: AnchoredAdam, seed: int
) -> Iterator[float]:
    """Fits a model to a scene; yields lambda-weighted cost, in bits per primitive, at each step."""
    x, weights = torch.from_numpy(target.numbers), torch.from_numpy(target.weights / np.float32(lambda_))
    random = torch.Generator().manual_seed(seed)
    n = len(x)
    for i in range(steps):
        rows = torch.randperm(n, generator=random)[: max(_BATCH, n // 8)]
        at = model.chosen(rows)
        error = (weights[rows] * (model.predict(at) - x[rows]) ** 2).sum()
        cost = (error + model.bits(at, random)) / (len(rows) * x.shape[1])
        optimiser.zero_grad()
        cost.backward()
        optimiser.step(1.0 - 0.9 * i / steps)
        yield cost.item()
