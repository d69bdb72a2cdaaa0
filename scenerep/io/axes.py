"""Which world axes each scene format uses: the one table, and the conversion between its rows.

Axes are named by where x, y and z point as seen by a viewer who stands upright: R or L, U or D, F or B. Ours is RDF
(x right, y down, z forward). All of them are flips of single axes, so a conversion is a sign for each component.
A file does not say which way is up; the table says what its readers assume.

Sources: SPZ: README of nianticlabs/spz ("RUB ... other data formats such as PLY (which typically uses RDF)"); glTF 2.0,
3.4: "+Y up, the front faces +Z, -X right" for a viewer who looks along +Z.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from scenerep.geometry.sh import basis
from scenerep.scenes import Gaussians

OURS = "RDF"

# Format name (formats.py) to axes; quaternions in the file are wxyz or xyzw, which the format's own module minds.
AXES = {
    "ply": "RDF",
    "compressed.ply": "RDF",
    "splat": "RDF",
    "ksplat": "RDF",
    "sog": "RDF",
    "spz": "RUB",
    "glb": "LUF",
}  # fmt: skip

_PAIRS = ("LR", "DU", "BF")


def flips(source: str, target: str) -> np.ndarray:
    """float32 [3] of +-1: multiply a vector in `source` axes to get it in `target` axes."""
    for name in (source, target):
        if len(name) != 3 or any(letter not in pair for letter, pair in zip(name, _PAIRS)):
            raise ValueError(f"axes {name!r} are not three letters of L/R, U/D, F/B")
    return np.array([1 if a == b else -1 for a, b in zip(source, target)], np.float32)


def convert_axes(scene: Gaussians, source: str, target: str) -> Gaussians:
    """The scene with its world axes flipped from `source` to `target`; the same object if they are equal.

    With F = diag(flips): a rotation R becomes F R F, whose quaternion is (w, det(F) F v); an SH coefficient changes its
    sign where its basis function is odd in the flipped coordinates.
    """
    if source == target:
        return scene
    arrays = {name: getattr(scene, name).copy() for name in ("means", "quats", "sh")}
    flip_axes(arrays, source, target)
    return replace(scene, **arrays)


def flip_axes(arrays: dict[str, np.ndarray], source: str, target: str) -> None:
    """The same for the float32 arrays of a scene, in place: readers own theirs, and a copy of SH is most of a scene."""
    signs = flips(source, target)
    if (signs == 1).all():
        return
    arrays["means"] *= signs
    arrays["means"] += 0  # turns -0 into 0, so that equal scenes make equal files
    arrays["quats"] *= np.concatenate([np.ones(1, np.float32), np.prod(signs) * signs])
    arrays["sh"] *= sh_signs(tuple(signs.tolist()))[: arrays["sh"].shape[1], None]


@cache
def sh_signs(signs: tuple[float, float, float]) -> np.ndarray:
    """float32 [16] of +-1: how the SH coefficients change when the axes are flipped by `signs`."""
    direction = np.array([0.36, 0.48, 0.8])  # no basis function is zero here
    return np.sign(basis(direction * np.array(signs), 3) * basis(direction, 3)).astype(np.float32)
