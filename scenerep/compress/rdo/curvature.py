"""How much the pictures suffer from an error in each coded number, without trying it out.

The picture C is locally linear in the coded numbers x, so independent errors d_i of a quantiser give the summed squared
error sum_i h_i d_i^2 with h_i = sum_p (dC_p / dx_i)^2, the diagonal of J^T J. A random vector s of signs gives
E[(s^T J)_i^2] = h_i (Hutchinson 1989; for the diagonal, Bekas et al. 2007), and s^T J is one backward pass, for all
numbers at once. In an opacity the picture is exactly linear (the transmittance behind is linear in alpha), so that
o^2 h_o is the error of leaving a Gaussian out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scenerep.coding.canonical import canonical_form
from scenerep.coding.quantised import rotation_vectors, ycocg_from_rgb
from scenerep.compress.views import Views
from scenerep.geometry.quaternions import quaternion_product
from scenerep.geometry.sh import C0
from scenerep.scenes import Gaussians
from scenerep.splats.differentiate import Differentiator, View

YCOCG = ycocg_from_rgb(np.eye(3)).T.astype(np.float32)  # ycocg = YCOCG @ rgb
_RGB = np.linalg.inv(YCOCG).astype(np.float32)

Arrays = dict[str, np.ndarray]
"""Numbers as they are coded, float64 (sh: float32), by name: positions [n, 3], log_scales [n, 3], rotations [n, 3],
opacities [n], colours [n, 3], sh [n, k, 3]; see coding/quantised.py."""


def canonical_scene(scene: Gaussians, canonical: bool) -> Gaussians:
    """The same picture with unit quaternions, w >= 0, in canonical form if asked for."""
    if canonical:
        quats, log_scales = canonical_form(scene.quats, scene.log_scales)
    else:
        quats, log_scales = scene.quats / np.linalg.norm(scene.quats, axis=1, keepdims=True), scene.log_scales
        quats = np.where(quats[:, :1] < 0, -quats, quats)
    return replace(scene, quats=quats.astype(np.float32), log_scales=log_scales.astype(np.float32))


def coordinates(scene: Gaussians) -> Arrays:
    """The coded numbers of a scene whose quaternions are unit."""
    return {
        "positions": scene.means.astype(np.float64),
        "log_scales": scene.log_scales.astype(np.float64),
        "rotations": rotation_vectors(scene.quats.astype(np.float64)),
        "opacities": 1 / (1 + np.exp(-scene.opacity_logits.astype(np.float64))),
        "colours": ycocg_from_rgb(scene.sh[:, 0]) * C0,
        "sh": scene.sh[:, 1:] @ YCOCG.T,
    }


def curvature(scene: Gaussians, views: Views, numbers: Sequence[int], seed: int) -> Arrays:
    """h of every coded number, per colour value: sum h d^2 is a mean squared error of the pictures of all `views`.

    Args:
        scene: With unit quaternions.
        numbers: The views to look at; each is taken once, with signs of its own.
    """
    return curvatures([scene], views, numbers, seed)[0]


def curvatures(forms: Sequence[Gaussians], views: Views, numbers: Sequence[int], seed: int) -> list[Arrays]:
    """`curvature` of several forms of one scene, which differ in the order of the axes and so in scales and rotations.

    All forms give the same pictures, so that they are drawn once.
    """
    scene = forms[0]
    differentiate = Differentiator(0.2, scene.antialiased)
    params, x = scene.arrays(), coordinates(scene)
    total = {name: np.zeros(a.shape, np.float32) for name, a in x.items()}
    others = [_Form(scene, form) for form in forms[1:]]
    for i in numbers:
        target = views.target(i)
        camera = target.camera
        signs = np.random.default_rng([seed, i]).integers(0, 2, (camera.height, camera.width, 3)) * 2.0 - 1.0
        if target.mask is not None:
            signs *= target.mask[..., None] != 0
        view = View(target, camera, views.background, scene.sh_degree)
        found = differentiate.pull_back(params, view, np.ascontiguousarray(signs, np.float32))
        seen = np.flatnonzero(found.visible)
        g = {name: a[seen] for name, a in found.arrays.items()}
        for name, slope in _chain(g, {k: x[k][seen] for k in ("rotations", "opacities")}).items():
            total[name][seen] += slope * slope
        for form in others:
            form.add(g["quats"], seen)
    values = np.float32(views.values(numbers))
    first = {name: a / values for name, a in total.items()}
    return [first, *(first | form.own(first, values) for form in others)]


class _Form:
    """What differs in another form (q', s') of a scene (q, s): q' = q p with unit p, s' in another order."""

    def __init__(self, scene: Gaussians, form: Gaussians) -> None:
        conjugate = scene.quats.astype(np.float64) * [1, -1, -1, -1]
        self._turn = quaternion_product(conjugate, form.quats.astype(np.float64))
        self._vectors = rotation_vectors(form.quats.astype(np.float64))
        self._rotations = np.zeros(self._vectors.shape, np.float32)
        ranks = [np.argsort(-s.log_scales, axis=1, kind="stable") for s in (form, scene)]
        self._order = np.empty_like(ranks[0])
        np.put_along_axis(self._order, ranks[0], ranks[1], axis=1)

    def add(self, by_quats: np.ndarray, seen: np.ndarray) -> None:
        """The slope by q' is that by q, turned as q' itself is: the product with p preserves lengths."""
        slope = _by_rotation(quaternion_product(by_quats, self._turn[seen]), self._vectors[seen])
        self._rotations[seen] += slope * slope

    def own(self, first: Arrays, values: np.float32) -> Arrays:
        log_scales = np.take_along_axis(first["log_scales"], self._order, axis=1)
        return {"log_scales": log_scales, "rotations": self._rotations / values}


def removal_error(x: Arrays, h: Arrays) -> np.ndarray:
    """Mean squared error of leaving each Gaussian out, [n]."""
    return x["opacities"] ** 2 * h["opacities"]


def _chain(g: dict[str, np.ndarray], x: Arrays) -> Arrays:
    """Gradients by the scene's arrays, as gradients by the coded numbers."""
    o = x["opacities"]
    sh = g["sh"] @ _RGB  # by the chain rule, rgb = _RGB @ ycocg
    return {
        "positions": g["means"],
        "log_scales": g["log_scales"],
        "rotations": _by_rotation(g["quats"], x["rotations"]),
        "opacities": g["opacity_logits"] / np.maximum(o * (1 - o), 1e-6),
        "colours": sh[:, 0] / C0,
        "sh": sh[:, 1:],
    }


def _by_rotation(by_quats: np.ndarray, r: np.ndarray) -> np.ndarray:
    """The gradient by the rotation vector r of q = (1 - s, r) / (1 + s), s = r r / 4."""
    s = (r * r).sum(axis=1, keepdims=True) / 4
    w, v = by_quats[:, :1], by_quats[:, 1:]
    return v / (1 + s) - r * ((v * r).sum(axis=1, keepdims=True) / 2 + w) / (1 + s) ** 2
