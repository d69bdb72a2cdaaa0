"""Structure from motion with pycolmap on the CPU: pictures without cameras become a COLMAP reconstruction.

What to try, in which order, and which result to believe. The calls into COLMAP are in colmap.py, the choice of the
pairs in pairs.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from scenerep.data_tools.pairs import Pair, sequential

if TYPE_CHECKING:
    import pycolmap

    from scenerep.data_tools.colmap import ColmapJob

Progress = Callable[[str, int, int], None]
Matching = Literal["auto", "exhaustive", "sequential", "retrieval"]
Mapper = Literal["incremental", "global"]
Lens = Literal["simple_pinhole", "simple_radial", "radial", "opencv", "opencv_fisheye"]
Features = Literal["auto", "normal", "thorough"]

ENOUGH = 0.9
"""Share of the pictures that must find their place, else `auto` tries again harder."""

NEAR = 6
"""Pictures on each side that one is matched with where all others mislead."""

# Wide enough for the drift of a loop, far from the other side of a thing (180 degrees) or of a square one (90).
_LOOP_DEG = 40.0
_JUMP_DEG = 60.0  # nobody turns a camera so far between two of some dozen pictures and keeps an overlap


@dataclass(frozen=True)
class SfmPicture:
    """One picture as COLMAP sees it: upright, not larger than it needs.

    path: The picture file. lens: pictures of equal `lens` share one camera; they must have one size. focal_px: focal
    length from EXIF in pixels of this file, if known. mask: 8-bit picture of the same size, black = no features here.
    gps: (latitude, longitude) in degrees.
    """

    path: Path
    width: int
    height: int
    lens: str
    focal_px: float | None = None
    mask: Path | None = None
    gps: tuple[float, float] | None = None


@dataclass(frozen=True)
class SfmOptions:
    """How to find the cameras."""

    matching: Matching = "auto"
    mapper: Mapper = "incremental"
    lens: Lens = "simple_radial"
    features: Features = "auto"
    ordered: bool = False  # the pictures are frames of a video: `auto` matching uses their order
    seed: int = 0
    threads: int = 0  # 0: all that this process may use


@dataclass
class Solution:
    """What was found. `images[i]` is picture i's image id in `reconstruction`, for those that found their place."""

    reconstruction: pycolmap.Reconstruction
    images: dict[int, int]
    jumps: list[int]  # pictures after which the camera seems to leap, see `jumps`
    models: list[int]  # number of pictures in each separate model, largest first
    pairs: int
    matching: str
    features: Literal["normal", "thorough"]
    attempts: int
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Effort:
    """How hard to try."""

    features: Literal["normal", "thorough"]
    patient: bool  # also start from pairs with little parallax (walking forward) and accept few matches
    only: tuple[Pair, ...] | None = None  # these pairs instead of those of the options
    label: str = ""  # what the report calls `only`; a file name for its database


def reconstruct(
    pictures: Sequence[SfmPicture], work: Path, options: SfmOptions, progress: Progress | None = None
) -> Solution | None:
    """Finds the cameras of `pictures`.

    Args:
        pictures: At least two.
        work: An existing folder for intermediate files.
        options: How.
        progress: Called as progress(stage, done, total) with the stages features, matches, cameras.

    Returns:
        The largest model found, or None if no two pictures could be placed together.

    Raises:
        DataError: COLMAP refuses the pictures.
    """
    from scenerep.data_tools.colmap import ColmapJob, quiet_pycolmap

    quiet_pycolmap()
    import pycolmap

    pycolmap.set_random_seed(options.seed)
    job = ColmapJob(pictures, work, options, progress or (lambda stage, done, total: None))
    best: Solution | None = None
    efforts = _efforts(options)
    for attempt, effort in enumerate(efforts, start=1):
        found = job.run(effort, f"attempt{attempt}")
        if found and (best is None or len(found.images) > len(best.images)):
            best = found
        if best and len(best.images) >= ENOUGH * len(pictures):
            break
    if best and options.matching == "auto" and _looks_folded(best, options):
        best, attempt = _unfold(job, best, attempt)
    if best:
        best.attempts, best.seconds = attempt, {name: round(s, 2) for name, s in job.seconds.items()}
    return best


def _looks_folded(solution: Solution, options: SfmOptions) -> bool:
    # Photographs may come in any order; a few leaps among many small steps still mean that they were taken in turn.
    return bool(solution.jumps) and (options.ordered or len(solution.jumps) <= 0.1 * len(solution.images))


def _unfold(job: ColmapJob, folded: Solution, attempt: int) -> tuple[Solution, int]:
    """Two sides of a thing that look the same were taken for one: starts from pictures that follow each other.

    Those do not err so. Where their cameras come round a second time, those poses tell which other pairs can be true.
    """
    count = len(job.pictures)
    near = sequential(count, NEAR, far=False)
    found = job.run(Effort(folded.features, True, tuple(near), "neighbours"), f"attempt{attempt + 1}")
    if not found or len(found.jumps) >= len(folded.jumps) or len(found.images) < 0.8 * len(folded.images):
        return folded, attempt + 1
    loops = sorted({*near, *same_direction(found)})
    if len(loops) == len(near):
        return found, attempt + 1
    closed = job.run(Effort(folded.features, True, tuple(loops), "neighbours-loops"), f"attempt{attempt + 2}")
    if closed and len(closed.jumps) <= len(found.jumps) and len(closed.images) >= len(found.images):
        return closed, attempt + 2
    return found, attempt + 2


def same_direction(solution: Solution) -> list[Pair]:
    """Pairs of pictures (i, j), i < j, whose cameras look the same way, to within `_LOOP_DEG`."""
    order = sorted(solution.images)
    poses = [solution.reconstruction.image(solution.images[i]).cam_from_world() for i in order]
    forward = np.array([pose.rotation.matrix()[2] for pose in poses])
    alike = forward @ forward.T > np.cos(np.radians(_LOOP_DEG))
    return [(order[a], order[b]) for a, b in zip(*np.nonzero(np.triu(alike, 1)))]


def _efforts(options: SfmOptions) -> list[Effort]:
    if options.features != "auto":
        return [Effort(options.features, False), Effort(options.features, True)]
    return [Effort("normal", False), Effort("normal", True), Effort("thorough", True)]


def jumps(model: pycolmap.Reconstruction, images: dict[int, int]) -> list[int]:
    """Frames of a video after which the camera seems to leap: it turns by far more than it usually does.

    Args:
        model: With an image for each of
        images: The image id of each frame that found its place.
    """
    order = sorted(images)
    rotations = [model.image(images[i]).cam_from_world().rotation.matrix() for i in order]
    angles = []
    for a, b, i, j in zip(rotations, rotations[1:], order, order[1:]):
        cosine = (np.trace(a.T @ b) - 1) / 2
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))) / (j - i))  # frames in between may be missing
    if len(angles) < 5:
        return []
    limit = max(_JUMP_DEG, 6 * float(np.median(angles)))
    return [i for i, angle in zip(order, angles) if angle > limit]
