"""Capture: cameras, pictures (loaded when asked for), masks, depth, sparse points and the train/test split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from scenerep.captures.cache import ByteCache
from scenerep.captures.pictures import load_depth, load_mask, load_picture
from scenerep.captures.resample import area_average, fit, remap, remap_nearest
from scenerep.errors import DataError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.distortion import pinhole, undistortion_map

Split = Literal["train", "test"]
DEFAULT_CACHE_BYTES = 3 << 28


@dataclass(frozen=True)
class View:
    """One picture and its camera, as stored: the camera may have distortion and has the size of the picture file
    (after EXIF rotation). `depth_scale` is world units per stored unit of the depth map."""

    name: str
    camera: Camera
    image: Path
    mask: Path | None = None
    depth: Path | None = None
    depth_scale: float = 1.0
    split: Split = "train"


@dataclass(frozen=True)
class Points:
    """Sparse points: xyz float32 [m, 3] in world units, rgb uint8 [m, 3]."""

    xyz: np.ndarray
    rgb: np.ndarray

    def __post_init__(self) -> None:
        xyz = np.ascontiguousarray(self.xyz, dtype=np.float32)
        rgb = np.ascontiguousarray(self.rgb)
        if xyz.ndim != 2 or xyz.shape[1] != 3 or rgb.shape != xyz.shape or rgb.dtype != np.uint8:
            raise DataError(f"points need xyz [m, 3] and rgb uint8 [m, 3], got {xyz.shape} and {rgb.dtype} {rgb.shape}")
        object.__setattr__(self, "xyz", xyz)
        object.__setattr__(self, "rgb", rgb)

    def __len__(self) -> int:
        return len(self.xyz)


def split_every(names: Sequence[str], every: int) -> list[Split]:
    """The split of each name: in sorted order, number 0, `every`, 2 `every` ... are held out; 0 holds out none."""
    if every < 0 or every == 1:
        raise DataError(f"test_every={every} leaves no view to train on", "use 0 (no held-out views), or 2 and more")
    rank = {name: place for place, name in enumerate(sorted(names))}
    return ["test" if every and rank[name] % every == 0 else "train" for name in names]


class Capture:
    """Views and points, and the pictures behind them: undistorted, resized, cached. Safe to use from several threads.

    Args:
        root: Folder or file that it was read from.
        source: Name of the reader.
        views: At least one; names must differ.
        points: Sparse points, or None.
        max_side: Longest side of the pictures handed out, in pixels; None keeps their size. Never enlarges.
        warnings: What the reader found odd; the command line shows it.
        cache_bytes: Budget of the picture cache; the least recently used are dropped beyond it.
    """

    def __init__(
        self,
        root: Path,
        source: str,
        views: Sequence[View],
        points: Points | None = None,
        *,
        max_side: int | None = None,
        warnings: Sequence[str] = (),
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        if not views:
            raise DataError(f"{root}: the capture has no views")
        if len({view.name for view in views}) != len(views):
            raise DataError(f"{root}: two views of the capture have the same name")
        if max_side is not None and max_side < 1:
            raise DataError(f"max_side={max_side} is not a size in pixels", "use a number of 1 and more")
        self.root = Path(root)
        self.source = source
        self.views = tuple(views)
        self.points = points
        self.max_side = max_side
        self.warnings = tuple(warnings)
        self.train = [i for i, view in enumerate(self.views) if view.split == "train"]
        self.test = [i for i, view in enumerate(self.views) if view.split == "test"]
        self._cache = ByteCache(cache_bytes)
        self._prefetcher: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self.views)

    def __repr__(self) -> str:
        counts = f"{len(self.train)} train + {len(self.test)} test, {len(self.points or ())} points"
        return f"Capture({str(self.root)!r}, {self.source}, {counts})"

    def resized(self, max_side: int | None) -> Capture:
        """The same capture with pictures whose longest side is at most `max_side`; None: as stored."""
        return self._with(max_side=max_side)

    def with_points(self, points: Points | None) -> Capture:
        """The same capture with other sparse points."""
        return self._with(points=points)

    def with_views(self, views: Sequence[View]) -> Capture:
        """The same capture with other views (a selection, another split, refined poses)."""
        return self._with(views=views)

    def _with(self, **changes) -> Capture:
        parts = {"views": self.views, "points": self.points, "max_side": self.max_side} | changes
        budget = self._cache.budget
        return Capture(self.root, self.source, warnings=self.warnings, cache_bytes=budget, **parts)

    @property
    def scene_scale(self) -> float:
        """1.1 times the largest distance of a camera from the mean camera centre; 1 if all cameras share one place."""
        centres = np.stack([view.camera.centre for view in self.views])
        scale = 1.1 * float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())
        return scale if scale > 0 else 1.0

    def camera(self, i: int) -> Camera:
        """The pinhole camera of `image(i)`: undistorted and resized."""
        stored = self.views[i].camera
        return pinhole(stored).resized(*fit(stored.width, stored.height, self.max_side))

    def image(self, i: int) -> np.ndarray:
        """uint8 [h, w, 3], or [h, w, 4] with straight alpha; undistorted and resized. Read-only.

        Raises:
            DataError: the picture is missing or broken, or its size is not its camera's.
        """
        return self._cache.get(("image", i), lambda: self._load_image(i))

    def mask(self, i: int) -> np.ndarray | None:
        """bool [h, w], True = use this pixel; None if all count. Read-only.

        False where the mask picture is black and where undistortion found no picture. A reduced pixel counts when all
        of the pixels under it do.
        """
        view = self.views[i]
        if view.mask is None and _is_pinhole(view.camera):
            return None
        return self._cache.get(("mask", i), lambda: self._load_mask(i))

    def depth(self, i: int) -> np.ndarray | None:
        """float32 [h, w] along the camera's z axis in world units, 0 = unknown; None if the view has none. Read-only.

        A depth map of another size than the picture is sampled at the nearest pixel: depths are never blended.
        """
        if self.views[i].depth is None:
            return None
        return self._cache.get(("depth", i), lambda: self._load_depth(i))

    def prefetch(self, indices: Iterable[int]) -> None:
        """Loads the pictures and masks of these views in a background thread, in order. Errors wait for image(i)."""
        if self._prefetcher is None:
            self._prefetcher = ThreadPoolExecutor(1, "capture-prefetch")
        for i in indices:
            self._prefetcher.submit(self._load_quietly, i)

    def _load_quietly(self, i: int) -> None:
        try:
            self.image(i)
            self.mask(i)
        except DataError:
            return

    def _load_image(self, i: int) -> np.ndarray:
        view = self.views[i]
        stored = view.camera
        picture = load_picture(view.image, (stored.width, stored.height))
        width, height = fit(stored.width, stored.height, self.max_side)
        if not _is_pinhole(stored):
            # Straightening costs most at full size; twice the wanted size is enough for its bilinear samples.
            middle = stored.resized(*_working_size(stored, width, height))
            picture = area_average(picture, middle.width, middle.height)
            picture = remap(picture, _undistortion(middle)[0])
        return area_average(picture, width, height)

    def _load_mask(self, i: int) -> np.ndarray:
        view = self.views[i]
        stored = view.camera
        width, height = fit(stored.width, stored.height, self.max_side)
        middle = stored.resized(*_working_size(stored, width, height))
        use = np.ones((middle.height, middle.width), dtype=bool)
        if view.mask is not None:
            mask = load_mask(view.mask, (stored.width, stored.height)).astype(np.float32)
            use = area_average(mask, middle.width, middle.height) > 0.999
        if not _is_pinhole(stored):
            source, valid = _undistortion(middle)
            use = remap_nearest(use, source) & valid
        return area_average(use.astype(np.float32), width, height) > 0.999

    def _load_depth(self, i: int) -> np.ndarray:
        view = self.views[i]
        assert view.depth is not None
        depth = load_depth(view.depth, view.depth_scale)
        wanted = view.camera.resized(*fit(view.camera.width, view.camera.height, self.max_side))
        source, valid = _undistortion(wanted)
        scale = np.array([depth.shape[1] / wanted.width, depth.shape[0] / wanted.height], dtype=np.float32)
        return np.where(valid, remap_nearest(depth, source * scale), np.float32(0))


def _is_pinhole(camera: Camera) -> bool:
    return camera.distortion is None or camera.distortion.is_zero


def _working_size(stored: Camera, width: int, height: int) -> tuple[int, int]:
    longest = 2 * max(width, height)
    return fit(stored.width, stored.height, longest if longest < max(stored.width, stored.height) else None)


def _undistortion(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    return _cached_map(camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height, camera.distortion)


@lru_cache(maxsize=4)  # the map does not depend on the pose, so all views of one lens share an entry
def _cached_map(fx, fy, cx, cy, width, height, distortion) -> tuple[np.ndarray, np.ndarray]:
    return undistortion_map(Camera(fx, fy, cx, cy, width, height, distortion=distortion))
