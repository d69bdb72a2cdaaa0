"""Batches of rays from the training pictures, drawn at random over all of their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenerep.captures import Capture
from scenerep.errors import DataError

_POOL_BYTES = 1 << 30
_EXCHANGE_EVERY = 400  # batches after which a part of the pool is exchanged, where not all pictures fit
_EXCHANGE_SHARE = 0.2


@dataclass(frozen=True)
class RayBatch:
    """origins, directions (unit), targets, background: float32 [n, 3]; targets in [0, 1], over the background.

    radii: float32 [n], half a pixel's width at distance 1.
    """

    origins: np.ndarray
    directions: np.ndarray
    targets: np.ndarray
    background: np.ndarray
    radii: np.ndarray


class RaySource:
    """Draws batches. Pictures stay as 8 bits; where they do not fit into `pool_bytes`, a changing part of them is used.

    Args:
        background: Colour [3] under transparent pictures and behind the scene, or None if it is drawn anew for each
            ray.
        rng: What the batches are drawn with; its state says all there is to know about the batches still to come, but
            for the pool of large captures, which begins anew.
    """

    def __init__(
        self,
        capture: Capture,
        background: np.ndarray | None,
        rng: np.random.Generator,
        pool_bytes: int = _POOL_BYTES,
    ) -> None:
        self._capture, self._background, self._rng = capture, background, rng
        self._cameras = {i: capture.camera(i) for i in capture.train}
        sizes = {i: camera.width * camera.height * 4 for i, camera in self._cameras.items()}
        self._all = sum(sizes.values()) <= pool_bytes
        count = len(sizes) if self._all else max(1, int(pool_bytes // max(sizes.values())))
        self._waiting = list(capture.train)
        if not self._all:
            self._waiting = [int(i) for i in rng.permutation(self._waiting)]
        self._pool = [self._take() for _ in range(count)]
        self._batches = 0
        self._index()

    def draw(self, count: int, side: int = 1) -> RayBatch:
        """A batch of about `count` rays, in squares of `side` x `side` neighbouring pixels.

        Neighbours share voxels, whose update is most of the cost of a step. In the place of a pixel that a mask leaves
        out, that which the square was drawn for is taken again.
        """
        self._batches += 1
        if not self._all and self._batches % _EXCHANGE_EVERY == 0:
            self._exchange()
        rng = self._rng
        at = rng.integers(0, len(self._pixels) if self._usable is None else len(self._usable), max(1, count // side**2))
        if self._usable is not None:
            at = self._usable[at]
        picture = np.searchsorted(self._ends, at, side="right")
        if side > 1:
            at, picture = self._squares(at, picture, side)
        count = len(at)
        pixel = at - self._begins[picture]
        values = self._pixels[at]
        local = np.empty((count, 3), np.float32)
        lens = self._lenses[picture]
        width = lens[:, 4].astype(np.int64)
        local[:, 0] = (pixel % width + 0.5 - lens[:, 2]) / lens[:, 0]
        local[:, 1] = (pixel // width + 0.5 - lens[:, 3]) / lens[:, 1]
        local[:, 2] = 1.0
        local /= np.sqrt(np.einsum("ni,ni->n", local, local))[:, None]
        directions = np.einsum("nij,nj->ni", self._rotations[picture], local)
        if self._background is None:
            behind = rng.random((count, 3), dtype=np.float32)
        else:
            behind = np.tile(self._background.astype(np.float32), (count, 1))
        targets = values[:, :3].astype(np.float32) / 255.0
        if values.shape[1] == 4:
            alpha = values[:, 3:].astype(np.float32) / 255.0
            targets = targets * alpha + (1.0 - alpha) * behind
        radii = (0.5 / lens[:, 0]).astype(np.float32)
        return RayBatch(self._centres[picture], directions.astype(np.float32), targets, behind, radii)

    def _squares(self, at: np.ndarray, picture: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """(places, pictures) of the squares of pixels at these lower corners, moved in from the far edges."""
        width, height = self._lenses[picture, 4].astype(np.int64), self._lenses[picture, 5].astype(np.int64)
        row, column = np.divmod(at - self._begins[picture], width)
        row, column = np.minimum(row, np.maximum(height - side, 0)), np.minimum(column, np.maximum(width - side, 0))
        down, right = np.divmod(np.arange(side**2), side)
        rows = np.minimum(row[:, None] + down, height[:, None] - 1)
        columns = np.minimum(column[:, None] + right, width[:, None] - 1)
        places = self._begins[picture][:, None] + rows * width[:, None] + columns
        if self._use is not None:
            places = np.where(self._use[places], places, at[:, None])
        return places.reshape(-1), np.repeat(picture, side**2)

    def _take(self) -> tuple[int, np.ndarray, np.ndarray | None]:
        """(view, its pixels uint8 [m, c], which of them are usable: bool [m], or None for all), the next that waits."""
        view = self._waiting.pop(0)
        image, mask = self._capture.image(view), self._capture.mask(view)
        return view, image.reshape(-1, image.shape[2]), None if mask is None or mask.all() else mask.reshape(-1)

    def _exchange(self) -> None:
        for _ in range(max(1, int(_EXCHANGE_SHARE * len(self._pool)))):
            if not self._waiting:
                left = {view for view, _, _ in self._pool}
                self._waiting = [
                    int(i) for i in self._rng.permutation([i for i in self._capture.train if i not in left])
                ]
            if not self._waiting:
                return
            self._pool.pop(0)
            self._pool.append(self._take())
        self._index()

    def _index(self) -> None:
        """Lays the pool's pixels out in one array."""
        counts = np.array([len(pixels) for _, pixels, _ in self._pool])
        channels = max(pixels.shape[1] for _, pixels, _ in self._pool)
        self._pixels = np.concatenate([_with_alpha(pixels, channels) for _, pixels, _ in self._pool])
        self._use = self._usable = None
        if any(use is not None for _, _, use in self._pool):
            self._use = np.concatenate([np.ones(len(p), bool) if use is None else use for _, p, use in self._pool])
            self._usable = np.flatnonzero(self._use)
            if len(self._usable) == 0:
                raise DataError(
                    f"{self._capture.root}: no pixel of the training pictures is usable", "look at the masks"
                )
        self._ends = np.cumsum(counts)
        self._begins = self._ends - counts
        cameras = [self._cameras[view] for view, _, _ in self._pool]
        self._lenses = np.array([[c.fx, c.fy, c.cx, c.cy, c.width, c.height] for c in cameras])
        self._rotations = np.stack([c.world_from_camera[:3, :3] for c in cameras])
        self._centres = np.stack([c.centre for c in cameras]).astype(np.float32)


def _with_alpha(pixels: np.ndarray, channels: int) -> np.ndarray:
    if pixels.shape[1] == channels:
        return pixels
    return np.concatenate([pixels, np.full((len(pixels), 1), 255, np.uint8)], axis=1)


class MultiscaleRays:
    """Rays of the pictures at 1, 1/2, 1/4, ... of their size, reduced by averaging: mip-NeRF's multiscale training.

    Args:
        shares: Of a batch's rays, for each scale.
    """

    def __init__(
        self, capture: Capture, background: np.ndarray | None, rng: np.random.Generator, shares: tuple[float, ...]
    ) -> None:
        longest = max(max(c.width, c.height) for c in (capture.camera(i) for i in capture.train))
        pool = _POOL_BYTES // 2
        self._shares = shares
        self._sources = [
            RaySource(capture if k == 0 else capture.resized(max(1, longest >> k)), background, rng, pool)
            for k in range(len(shares))
        ]

    def draw(self, count: int, side: int = 1) -> RayBatch:
        """A batch of about `count` rays; see RaySource.draw."""
        parts = [
            source.draw(max(side**2, round(count * share)), side)
            for source, share in zip(self._sources, self._shares, strict=True)
        ]
        return RayBatch(*(np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])))
