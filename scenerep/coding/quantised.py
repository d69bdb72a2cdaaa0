"""Quantised scenes: the integers that the coder stores, and how they come from a scene and become one again.

n = Gaussians, k = SH coefficients above the constant one. The integers are what is coded and hashed; the float values
that `dequantise` gives are for rendering and may differ in the last bit between machines where exp, log or sqrt do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scenerep.coding.canonical import canonical_form
from scenerep.coding.quantiser import INTEGER_LIMIT, Quantiser
from scenerep.errors import SceneRepError
from scenerep.geometry.sh import C0
from scenerep.scenes import Gaussians

_ARRAYS = ("positions", "log_scales", "rotations", "opacities", "colours", "sh")
MAX_LAYERS = 16

# Opacities 0 and 1 have no logit; the renderer's own limits are 1/255 and 0.999, so that these change nothing.
_OPACITY_RANGE = 1 / 1024, 1 - 1 / 1024


@dataclass(frozen=True)
class LayerGain:
    """What the Gaussians decoded so far gain while all layers after theirs are missing."""

    log_scale: float = 0.0
    """Added to every log scale."""
    opacity: float = 1.0
    """Factor of every opacity."""


@dataclass(frozen=True)
class QuantisedSplats:
    """A splat scene as integers, all int32 but `layers`.

    positions [n, 3] on the grid, in 0 .. 2^depth - 1; log_scales [n, 3]; rotations [n, 3], the rotation vector
    2 v / (1 + w) of the quaternion (w, v) with w >= 0; opacities [n], after the sigmoid; colours [n, 3], the constant
    colour as luma and two chromas (Y, Co, Cg); sh [n, k, 3], the other coefficients likewise, a band that a Gaussian
    does without being all zero; layers uint8 [n], below `layer_count`, the coarsest being 0.

    `gains`, if any, has one entry for each layer: what to apply when that layer is the last one decoded.
    `layer_count` may exceed the layers present: then the later ones were left out in decoding.
    """

    positions: np.ndarray
    log_scales: np.ndarray
    rotations: np.ndarray
    opacities: np.ndarray
    colours: np.ndarray
    sh: np.ndarray
    quantiser: Quantiser
    layers: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    """An empty array puts all in layer 0."""
    layer_count: int = 0
    decoded_layers: int = 0
    gains: tuple[LayerGain, ...] = ()
    antialiased: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.positions.shape[0]
        k = self.quantiser.coefficients
        shapes = {
            "positions": (n, 3),
            "log_scales": (n, 3),
            "rotations": (n, 3),
            "opacities": (n,),
            "colours": (n, 3),
            "sh": (n, k, 3),
        }
        for name, shape in shapes.items():
            array = np.asarray(getattr(self, name))
            if array.shape != shape or not np.issubdtype(array.dtype, np.integer):
                raise SceneRepError(
                    f"QuantisedSplats.{name} is {array.dtype}{array.shape}, expected integers of shape {shape}"
                )
            if array.size and max(-int(array.min()), int(array.max())) >= INTEGER_LIMIT:
                raise SceneRepError(f"QuantisedSplats.{name} has values beyond +-2^24", "use a larger step")
            object.__setattr__(self, name, np.ascontiguousarray(array, dtype=np.int32))
        if n and (self.positions.min() < 0 or self.positions.max() >> self.quantiser.depth):
            raise SceneRepError(
                f"QuantisedSplats.positions leave the grid of 2^{self.quantiser.depth} points",
                "use a deeper octree or a larger position step",
            )
        layers = np.asarray(self.layers)
        if layers.size == 0:
            layers = np.zeros(n, np.uint8)
        if layers.shape != (n,) or not np.issubdtype(layers.dtype, np.integer):
            raise SceneRepError(f"QuantisedSplats.layers has shape {layers.shape}, expected integers ({n},)")
        last = int(layers.max()) if n else 0
        count = self.layer_count or last + 1
        if (n and int(layers.min()) < 0) or not last < count <= MAX_LAYERS:
            raise SceneRepError(f"layers must be in 0 .. {count - 1}, and {MAX_LAYERS} at most")
        if self.gains and len(self.gains) != count:
            raise SceneRepError(f"{len(self.gains)} gains for {count} layers", "give one for each layer, or none")
        object.__setattr__(self, "layers", np.ascontiguousarray(layers, dtype=np.uint8))
        object.__setattr__(self, "layer_count", count)
        object.__setattr__(self, "decoded_layers", self.decoded_layers or count)

    def __len__(self) -> int:
        return self.positions.shape[0]

    def arrays(self) -> dict[str, np.ndarray]:
        """The named int32 arrays, in a fixed order."""
        return {name: getattr(self, name) for name in _ARRAYS}

    def select(self, index: np.ndarray) -> QuantisedSplats:
        """The Gaussians named by a boolean mask or an index array."""
        chosen = {name: array[index] for name, array in self.arrays().items()}
        return replace(self, **chosen, layers=self.layers[index])

    def digest(self) -> str:
        """SHA-256 of the integers, little-endian int32, array after array, then the layers as bytes.

        It depends on the order of the Gaussians: compare scenes as the decoder gives them.
        """
        sha = hashlib.sha256()
        for array in self.arrays().values():
            sha.update(array.astype("<i4").tobytes())
        sha.update(self.layers.tobytes())
        return sha.hexdigest()


def quantise(
    scene: Gaussians, quantiser: Quantiser, layers: np.ndarray | None = None, *, sh_dead_zone: float = 0.0
) -> QuantisedSplats:
    """The nearest integers to a scene.

    Args:
        layers: Layer of each Gaussian [n]; None puts all in one.
        sh_dead_zone: An SH value becomes 0 up to 1/2 + this, in steps.

    SH bands above the quantiser's degree are dropped; missing ones are zero. Centres outside the grid go to its border.

    Raises:
        SceneRepError: a value is so large that its integer does not fit 24 bits.
    """
    quats, log_scales = _forms(scene, quantiser)
    k = quantiser.coefficients
    sh = np.zeros((len(scene), k, 3))
    given = min(k, scene.sh.shape[1] - 1)
    sh[:, :given] = ycocg_from_rgb(scene.sh[:, 1 : 1 + given])
    sh /= quantiser.sh_steps()
    sh[np.abs(sh) <= 0.5 + sh_dead_zone] = 0
    grid = (quantiser.contract(scene.means) - quantiser.origin) / quantiser.position
    colour_steps = [quantiser.colour_luma, quantiser.colour_chroma, quantiser.colour_chroma]
    return QuantisedSplats(
        positions=np.clip(_round(grid), 0, 2**quantiser.depth - 1),
        log_scales=_round(log_scales / quantiser.log_scale),
        rotations=_round(rotation_vectors(quats) / quantiser.rotation),
        opacities=_round(_sigmoid(scene.opacity_logits) / quantiser.opacity),
        colours=_round(ycocg_from_rgb(scene.sh[:, 0]) * C0 / colour_steps),
        sh=_round(sh),
        quantiser=quantiser,
        layers=np.zeros(0, np.uint8) if layers is None else layers,
        antialiased=scene.antialiased,
        metadata=dict(scene.metadata),
    )


def dequantise(q: QuantisedSplats) -> Gaussians:
    """The scene that the integers stand for.

    Each value is integer * step in float64 (exact; for positions plus the origin), taken through the formula of its
    attribute in float64 and rounded once to float32:
    centre: `Quantiser.expand`;
    quaternion: g = rotation vector, s = |g|^2 / 4, w = (1 - s) / (1 + s), xyz = g / (1 + s);
    opacity logit: ln(o / (1 - o)), o held within 1/1024 of 0 and 1;
    red, green, blue from Y, Co, Cg: t = Y - Cg / 2, (t + Co / 2, Y + Cg / 2, t - Co / 2).
    If layers were left out in decoding, the gain of the last one present applies.
    """
    steps = q.quantiser
    gain = LayerGain()
    if q.gains and q.decoded_layers < q.layer_count:
        gain = q.gains[q.decoded_layers - 1]
    g = q.rotations * steps.rotation
    s = (g * g).sum(axis=1, keepdims=True) / 4
    opacity = np.clip(q.opacities * steps.opacity * gain.opacity, *_OPACITY_RANGE)
    colour_steps = [steps.colour_luma, steps.colour_chroma, steps.colour_chroma]
    dc = rgb_from_ycocg(q.colours * colour_steps) / C0
    sh = np.concatenate([dc[:, None], rgb_from_ycocg(q.sh * steps.sh_steps())], axis=1)
    return Gaussians(
        means=steps.expand(np.array(steps.origin) + q.positions * steps.position).astype(np.float32),
        log_scales=(q.log_scales * steps.log_scale + gain.log_scale).astype(np.float32),
        quats=(np.concatenate([1 - s, g], axis=1) / (1 + s)).astype(np.float32),
        opacity_logits=np.log(opacity / (1 - opacity)).astype(np.float32),
        sh=sh.astype(np.float32),
        antialiased=q.antialiased,
        metadata=dict(q.metadata),
    )


def rotation_vectors(quats: np.ndarray) -> np.ndarray:
    """2 v / (1 + w) of unit quaternions (w, v) [n, 4], turned to w >= 0 first: [n, 3], at most 2 long.

    This is twice the stereographic projection (modified Rodrigues parameters): unlike v itself it stays
    well-conditioned up to half turns, and its inverse needs no square root.
    """
    quats = np.where(quats[:, :1] < 0, -quats, quats)
    return 2 * quats[:, 1:] / (1 + quats[:, :1])


def ycocg_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """Luma and chromas (Y, Co, Cg) of [..., 3]: Y = (R + 2 G + B) / 4, Co = R - B, Cg = G - (R + B) / 2."""
    r, g, b = np.moveaxis(np.asarray(rgb, dtype=np.float64), -1, 0)
    return np.stack([(r + 2 * g + b) / 4, r - b, g - (r + b) / 2], axis=-1)


def rgb_from_ycocg(ycocg: np.ndarray) -> np.ndarray:
    """The inverse of `ycocg_from_rgb`."""
    y, co, cg = np.moveaxis(np.asarray(ycocg, dtype=np.float64), -1, 0)
    t = y - cg / 2
    return np.stack([t + co / 2, y + cg / 2, t - co / 2], axis=-1)


def _forms(scene: Gaussians, quantiser: Quantiser) -> tuple[np.ndarray, np.ndarray]:
    if quantiser.canonical:
        return canonical_form(scene.quats, scene.log_scales)
    quats = scene.quats.astype(np.float64)
    return quats / np.linalg.norm(quats, axis=1, keepdims=True), scene.log_scales.astype(np.float64)


def _round(values: np.ndarray) -> np.ndarray:
    """Nearest integers, halves up, as int64 (QuantisedSplats checks their range)."""
    if not np.all(np.abs(values) < 2**62):
        raise SceneRepError("a value is not finite or too large to be quantised", "use a larger step")
    return np.floor(values + 0.5).astype(np.int64)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))
