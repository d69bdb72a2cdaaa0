"""check_capture: what is wrong or doubtful about a capture, before an hour is spent on training with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

from scenerep.captures import Capture
from scenerep.captures.resample import remap
from scenerep.errors import DataError
from scenerep.geometry.cameras import Camera
from scenerep.geometry.poses import focus_point, rotation_angle_deg

# All comparisons are made on small pictures: they see what a person would see at arm's length.
_SIDE = 64
_FEW_VIEWS = 20
# Mean brightness this many times above or below the capture's median
_EXPOSURE_FACTOR = 2.0
# Mean difference of small pictures in 0..255: noise and recompression stay below, other views above.
_DUPLICATE = 0.5
# "Nearly the same pose": baseline as a share of the distance to the scene, and angle
_NEAR_BASELINE = 0.15
_NEAR_ANGLE_DEG = 15.0
# Correlation of two such pictures after a warp. Good captures of the test data have 0.78 and more (mostly above 0.9);
# a model that folds two sides of a can onto each other has many pairs of 0.5 to 0.7.
_DISAGREE = 0.7
_FOLDED_PAIRS = 2

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Finding:
    """One thing that was found: `names` are the views concerned ("a / b" for pairs), `advice` says what to do."""

    severity: Literal["error", "warning", "info"]
    what: str
    names: tuple[str, ...]
    advice: str


def check_capture(capture: Capture, *, progress: Progress | None = None) -> list[Finding]:
    """Looks at all pictures and cameras of a capture; errors first, then warnings, then notes.

    Finds pictures that are missing or broken, too few views, mixed sizes, wildly different exposures, duplicated
    pictures, cameras that look away from what the others look at, and folded models: cameras at nearly the same pose
    whose pictures disagree, as when two similar sides of an object were registered as one.

    Args:
        capture: Any capture; its `max_side` does not matter.
        progress: Called as progress("pictures", done, total).
    """
    small = capture.resized(_SIDE)
    names = [view.name for view in capture.views]
    pictures: dict[int, np.ndarray] = {}
    broken = []
    for i in range(len(capture)):
        try:
            pictures[i] = small.image(i)
        except DataError as error:
            broken.append(error.message)
        if progress:
            progress("pictures", i + 1, len(capture))
    findings = []
    if broken:
        findings.append(
            Finding("error", f"{len(broken)} pictures cannot be read", tuple(broken), "replace or remove these files")
        )
    findings += _counts(capture)
    findings += _sizes(capture)
    cameras = {i: small.camera(i) for i in pictures}
    grey = {i: _grey(picture) for i, picture in pictures.items()}
    findings += _exposures(pictures, names)
    duplicates = _duplicates(grey, names, capture)
    findings += duplicates
    if len(cameras) >= 3:
        focus = focus_point(list(cameras.values()))
        findings += _looking_away(cameras, focus, names)
        findings += _folded(cameras, grey, focus, names)
    order = {"error": 0, "warning": 1, "info": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def _counts(capture: Capture) -> list[Finding]:
    found = []
    count = len(capture.train)
    if count < 3:
        advice = "add pictures, or hold out fewer"
        found.append(Finding("error", f"only {count} views to train on", (), advice))
    elif count < _FEW_VIEWS:
        advice = f"{_FEW_VIEWS} and more, from all around, make a scene that holds from new viewpoints"
        found.append(Finding("warning", f"only {count} views to train on", (), advice))
    if not capture.test:
        found.append(Finding("info", "no view is held out", (), "quality cannot be measured on unseen pictures"))
    return found


def _sizes(capture: Capture) -> list[Finding]:
    sizes: dict[tuple[int, int], list[str]] = {}
    for view in capture.views:
        sizes.setdefault((view.camera.width, view.camera.height), []).append(view.name)
    if len(sizes) < 2:
        return []
    common = max(sizes, key=lambda size: len(sizes[size]))
    others = tuple(name for size, listed in sizes.items() if size != common for name in listed)
    what = f"pictures of {len(sizes)} sizes; most are {common[0]}x{common[1]}"
    return [Finding("info", what, others, "fine if they come from several cameras or were turned")]


def _grey(picture: np.ndarray) -> np.ndarray:
    """float32 [h, w], slightly blurred; transparent pixels are black."""
    values = picture[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    if picture.shape[2] == 4:
        values *= picture[..., 3] / np.float32(255)
    return gaussian_filter(values, 1.0)


def _exposures(pictures: dict[int, np.ndarray], names: Sequence[str]) -> list[Finding]:
    brightness = {}
    for i, picture in pictures.items():
        opaque = picture[..., 3] >= 128 if picture.shape[2] == 4 else np.ones(picture.shape[:2], dtype=bool)
        if opaque.any():
            brightness[i] = float(picture[opaque][:, :3].mean())
    if len(brightness) < 3:
        return []
    middle = max(float(np.median(list(brightness.values()))), 1.0)
    odd: list[int] = [i for i, b in brightness.items() if not 1 / _EXPOSURE_FACTOR < b / middle < _EXPOSURE_FACTOR]
    if not odd:
        return []
    what = f"{len(odd)} pictures are more than {_EXPOSURE_FACTOR:g} times brighter or darker than the others"
    advice = "photograph with a fixed exposure, or leave these out: a scene has one brightness"
    return [Finding("warning", what, tuple(names[i] for i in odd), advice)]


def _duplicates(grey: dict[int, np.ndarray], names: Sequence[str], capture: Capture) -> list[Finding]:
    pairs = []
    means = {i: float(values.mean()) for i, values in grey.items()}
    for i, j in combinations(sorted(grey), 2):
        # The means first: they rule out nearly all pairs at no cost.
        if abs(means[i] - means[j]) <= _DUPLICATE and grey[i].shape == grey[j].shape:
            difference = float(np.abs(grey[i] - grey[j]).mean())
            # Flat pictures (a lens cap, a white wall) are alike without being copies of each other.
            if difference <= _DUPLICATE and grey[i].std() > 4:
                pairs.append((i, j))
    if not pairs:
        return []
    leaks = any(capture.views[i].split != capture.views[j].split for i, j in pairs)
    advice = "remove one of each pair"
    if leaks:
        advice += "; some are both trained on and held out, so quality looks better than it is"
    what = f"{len(pairs)} pairs of pictures are the same"
    return [Finding("warning", what, tuple(f"{names[i]} / {names[j]}" for i, j in pairs), advice)]


def _looking_away(cameras: dict[int, Camera], focus: np.ndarray, names: Sequence[str]) -> list[Finding]:
    away = [i for i, camera in cameras.items() if (focus - camera.centre) @ camera.world_from_camera[:3, 2] <= 0]
    # Where many do, the capture looks outwards (a room from its middle), and has no common focus.
    if not away or len(away) > 0.3 * len(cameras):
        return []
    what = f"{len(away)} cameras look away from what the others look at"
    return [Finding("warning", what, tuple(names[i] for i in away), "check their poses, or leave them out")]


def _folded(
    cameras: dict[int, Camera], grey: dict[int, np.ndarray], focus: np.ndarray, names: Sequence[str]
) -> list[Finding]:
    bad = []
    for i, j in combinations(sorted(cameras), 2):
        a, b = cameras[i], cameras[j]
        distance = float(np.linalg.norm(a.centre - focus))
        if np.linalg.norm(a.centre - b.centre) > _NEAR_BASELINE * distance:
            continue
        if rotation_angle_deg(a.world_from_camera, b.world_from_camera) > _NEAR_ANGLE_DEG:
            continue
        score = likeness(a, b, grey[i], grey[j], distance)
        if score is not None and score < _DISAGREE:
            bad.append((score, i, j))
    if len(bad) < _FOLDED_PAIRS:
        return []
    pairs = tuple(f"{names[i]} / {names[j]}" for _, i, j in sorted(bad))
    what = f"{len(bad)} pairs of cameras stand at nearly the same place, but their pictures disagree: a folded model"
    advice = (
        "two sides that look alike were taken for one; compute the poses again from more overlapping pictures "
        "(scenerep data photos), or with something in view that tells the sides apart"
    )
    return [Finding("warning", what, pairs, advice)]


def likeness(a: Camera, b: Camera, grey_a: np.ndarray, grey_b: np.ndarray, distance: float) -> float | None:
    """Best zero-mean normalised correlation, -1..1, of picture a and picture b warped into a's view.

    The warp goes over planes facing a, at several depths around `distance`, since the depth of the scene is not known.
    None: the views hardly overlap at any of them.
    """
    u, v = np.meshgrid(np.arange(a.width) + 0.5, np.arange(a.height) + 0.5)
    plane = np.stack([(u - a.cx) / a.fx, (v - a.cy) / a.fy, np.ones_like(u)], axis=-1).reshape(-1, 3)
    picture = np.clip(grey_b, 0, 255).astype(np.uint8)[..., None]
    best = None
    for factor in (0.5, 0.7, 1.0, 1.5, 3.0):
        p = b.project(plane * (distance * factor) @ a.world_from_camera[:3, :3].T + a.centre)
        inside = (p[:, 2] > 0) & (p[:, 0] > 0) & (p[:, 0] < b.width) & (p[:, 1] > 0) & (p[:, 1] < b.height)
        if inside.mean() < 0.3:
            continue
        warped = remap(picture, p[:, :2].reshape(*u.shape, 2))[..., 0].ravel()[inside].astype(np.float64)
        own = grey_a.ravel()[inside].astype(np.float64)
        own, warped = own - own.mean(), warped - warped.mean()
        spread = np.sqrt((own**2).sum() * (warped**2).sum())
        score = float((own * warped).sum() / spread) if spread > 1e-6 else 1.0
        best = score if best is None else max(best, score)
    return best
