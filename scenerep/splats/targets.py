"""The training pictures at every resolution, 8 bits until used, and what the loss keeps about each."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from scenerep.captures import Capture
from scenerep.captures.resample import area_average
from scenerep.geometry.cameras import Camera


@dataclass(frozen=True)
class Target:
    """One training picture at one resolution.

    rgb: uint8 [h, w, 3], over the background; float32 where the background is drawn anew at each step.
    mask: uint8 [h, w], 1 = compare, or None. depth: float32 [h, w], 0 = unknown, or None.
    """

    camera: Camera
    rgb: np.ndarray
    mask: np.ndarray | None
    depth: np.ndarray | None


class Targets:
    """Loads and shrinks the pictures of a capture's training views; they are kept while they fit in memory.

    Args:
        capture: Pictures at the training resolution.
        background: Colour [3] in [0, 1] under transparent pictures, or None if it is drawn anew at each step.
        keep_bytes: Pictures are kept while they fit; beyond that they are made anew from the capture's, whose cache has
            a budget of its own.
    """

    def __init__(self, capture: Capture, background: np.ndarray | None, keep_bytes: int = 1 << 29) -> None:
        self._capture = capture
        self._background = background
        self._kept: dict[tuple[int, int], Target] = {}
        self._free = keep_bytes
        self._loader = ThreadPoolExecutor(1, "targets")
        self._coming: dict[tuple[int, int], Future[Target]] = {}
        self._composed = np.zeros((0, 0, 3), dtype=np.float32)

    def prefetch(self, views: Iterable[int], level: int) -> None:
        """Loads what `get` will be asked for next in a background thread; what an earlier call announced is forgotten.

        Errors wait for `get`.
        """
        wanted = [(view, level) for view in views if (view, level) not in self._kept]
        for key in self._coming.keys() - set(wanted):
            self._coming.pop(key).cancel()
        for key in wanted:
            if key not in self._coming:
                self._coming[key] = self._loader.submit(self._load, *key)

    def get(self, view: int, level: int, background: np.ndarray) -> Target:
        """The picture of a view, halved `level` times, over a background [3] in [0, 1].

        Where the background is drawn anew at each step, the next call of this size overwrites the picture.
        """
        found = self._kept.get((view, level))
        if found is None:
            coming = self._coming.pop((view, level), None)
            found = self._load(view, level) if coming is None else coming.result()
            size = found.rgb.nbytes + sum(a.nbytes for a in (found.mask, found.depth) if a is not None)
            if size <= self._free:
                self._free -= size
                self._kept[view, level] = found
        if found.rgb.shape[2] == 3:
            return found
        if self._composed.shape[:2] != found.rgb.shape[:2]:
            self._composed = np.empty((*found.rgb.shape[:2], 3), dtype=np.float32)
        for row in range(len(found.rgb)):  # one by one: no large arrays on the way
            self._composed[row] = over(found.rgb[row], background)
        return Target(found.camera, self._composed, found.mask, found.depth)

    def _load(self, view: int, level: int) -> Target:
        camera, rgb = self._capture.camera(view), self._capture.image(view)
        mask, depth = self._capture.mask(view), self._capture.depth(view)
        if level:
            w, h = max(1, camera.width >> level), max(1, camera.height >> level)
            camera = camera.resized(w, h)
            rgb = area_average(rgb, w, h)
            if mask is not None:  # a pixel counts if all that it was made of does
                mask = area_average((mask * 255).astype(np.uint8), w, h) == 255
            if depth is not None:
                rows, columns = (np.arange(n) * s // n for n, s in ((h, depth.shape[0]), (w, depth.shape[1])))
                depth = depth[rows][:, columns]
        if rgb.shape[2] == 4 and self._background is not None:
            rgb = np.round(over(rgb, self._background) * 255.0).astype(np.uint8)
        return Target(camera, np.ascontiguousarray(rgb), None if mask is None else mask.astype(np.uint8), depth)


def over(straight: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Pixels with straight alpha, uint8 [..., 4], over a colour [3] in [0, 1]: float32 [..., 3] in [0, 1]."""
    alpha = straight[..., 3:].astype(np.float32) / 255.0
    return straight[..., :3] * (alpha / 255.0) + (1.0 - alpha) * background.astype(np.float32)
