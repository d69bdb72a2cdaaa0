"""Which pictures to match with which: all pairs, neighbours in time, neighbours on the map, look-alikes.

A pair is (i, j) with i < j, indices into the list of pictures; lists come sorted and without doubles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Pair = tuple[int, int]

EXHAUSTIVE_LIMIT = 80
"""Up to here all pairs are matched: 3160 of them take about a minute on two cores (15 to 20 ms each)."""

_CENTRES = 64  # VLAD's usual vocabulary size (Jegou et al. 2010)
_PER_PICTURE = 500  # descriptors that describe a picture: the largest scales, which survive a change of view best
_EARTH_RADIUS_M = 6371000.0


def exhaustive(count: int) -> list[Pair]:
    """All pairs of `count` pictures."""
    return [(i, j) for i in range(count) for j in range(i + 1, count)]


def sequential(count: int, overlap: int = 10, *, far: bool = True) -> list[Pair]:
    """Each picture with the next `overlap` ones; with `far` also with those 2^k places on, k < `overlap`.

    The far ones give a slow walk its baseline and hold a long one together.
    """
    steps = {*range(1, overlap + 1)} | ({1 << k for k in range(overlap)} if far else set())
    return sorted((i, i + step) for i in range(count) for step in steps if i + step < count)


def near_on_map(positions: Sequence[tuple[float, float] | None], neighbours: int = 10) -> list[Pair]:
    """Each picture that has a position with its nearest `neighbours`.

    Args:
        positions: (latitude, longitude) in degrees, or None.
        neighbours: Pairs per picture.
    """
    known = [i for i, position in enumerate(positions) if position is not None]
    if len(known) < 2:
        return []
    degrees = np.array([positions[i] for i in known], dtype=np.float64)
    # The neighbourhood of a scene is flat enough for an equirectangular map.
    scale = np.radians([1.0, np.cos(np.radians(degrees[:, 0].mean()))]) * _EARTH_RADIUS_M
    metres = degrees * scale
    distance = np.linalg.norm(metres[:, None] - metres[None], axis=2)
    return _nearest(distance, neighbours, known)


def look_alikes(descriptors: Sequence[np.ndarray], neighbours: int = 25, seed: int = 0) -> list[Pair]:
    """Each picture with the `neighbours` that look most alike, by VLAD over a vocabulary trained on these pictures.

    Aggregates local descriptors into one vector (Jegou, Douze, Schmid, Perez: "Aggregating local descriptors into a
    compact image representation", CVPR 2010) with the intra-normalisation of Arandjelovic and Zisserman (CVPR 2013).
    Nothing has to be downloaded, unlike COLMAP's vocabulary trees.

    Args:
        descriptors: One array [n, 128] per picture, the most trustworthy first; may be empty.
        neighbours: Pairs per picture.
        seed: Of the choice of the first cluster centres.
    """
    local = [np.asarray(d[:_PER_PICTURE], dtype=np.float32) for d in descriptors]
    known = [i for i, d in enumerate(local) if len(d)]
    if len(known) < 2:
        return []
    local = [local[i] / np.maximum(np.linalg.norm(local[i], axis=1, keepdims=True), 1e-9) for i in known]
    centres = _k_means(np.concatenate(local), seed)
    vectors = np.stack([_vlad(d, centres) for d in local])
    return _nearest(-vectors @ vectors.T, neighbours, known)


def _nearest(distance: np.ndarray, neighbours: int, names: Sequence[int]) -> list[Pair]:
    distance = distance.copy()
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")[:, : min(neighbours, len(names) - 1)]
    pairs = ((names[i], names[int(j)]) for i in range(len(names)) for j in order[i])
    return sorted({(min(pair), max(pair)) for pair in pairs})


def _k_means(points: np.ndarray, seed: int, rounds: int = 8) -> np.ndarray:
    random = np.random.default_rng(seed)
    sample = points[random.permutation(len(points))[:20000]]
    centres = sample[: min(_CENTRES, len(sample))].copy()
    for _ in range(rounds):
        owner = _closest(sample, centres)
        count = np.bincount(owner, minlength=len(centres))
        total = np.zeros_like(centres)
        np.add.at(total, owner, sample)
        centres = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], centres)
    return centres


def _closest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    # |p - c|^2 without the term that is the same for all centres.
    return np.argmin((centres**2).sum(axis=1) - 2 * points @ centres.T, axis=1)


def _vlad(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    owner = _closest(points, centres)
    out = np.zeros_like(centres)
    np.add.at(out, owner, points - centres[owner])
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    return out.ravel() / max(float(np.linalg.norm(out)), 1e-9)
