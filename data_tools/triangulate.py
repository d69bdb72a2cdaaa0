"""initial_points: the cloud that training starts from, for captures with poses and without points."""

from __future__ import annotations

import numpy as np

from scenerep.captures import Capture, Points
from scenerep.data_tools.hull import colours, depth_points, has_masks, hull_points, inside_hull, random_points
from scenerep.data_tools.matching import Progress, triangulated
from scenerep.errors import DataError

# Features are found in pictures of this size. 43 views of a phone give 39000 points in 27 CPU seconds; at
# 960 pixels half as many in half the time.
FEATURE_SIDE = 1280
# With fewer matched points than this, points without matches are added: of a cut-out object, of an open scene.
ENOUGH = 10_000
FEW = 1000
FILL = 10_000


def initial_points(
    capture: Capture, *, max_points: int = 100_000, seed: int = 0, progress: Progress | None = None
) -> Points:
    """Coloured points on the scene's surfaces, from the train views only: held-out pictures stay unseen.

    In this order: depth maps, if the views have them; SIFT matches triangulated with the known poses; where these are
    fewer than 10000, 10000 random points inside the hull of the silhouettes (pictures with alpha); where they are fewer
    than 1000 and there are no silhouettes, 10000 random points where the cameras look. Points of
    cut-out pictures lie inside the silhouettes' hull.

    A pure function: the same capture and seed give the same points.

    Args:
        capture: With one train view at least. Its own points are not used.
        max_points: Upper bound; a random choice is made beyond it.
        seed: Of all random choices.
        progress: Called as progress("features" | "matching", done, total).

    Raises:
        DataError: no train view, or a picture is missing or broken.
    """
    train = capture.train
    if not train:
        raise DataError(f"{capture.root}: the capture has no train views", "hold out fewer views")
    rng = np.random.default_rng(seed)
    if any(capture.views[i].depth is not None for i in train):
        xyz, rgb = depth_points(capture, train, max_points, rng)
        if len(xyz) >= min(ENOUGH, max_points):
            return Points(xyz, rgb)
    xyz, rgb = triangulated(capture, train, side=FEATURE_SIDE, progress=progress)
    small = capture.resized(min(capture.max_side or 400, 400))
    cut_out = has_masks(small, train)
    if cut_out and len(xyz):
        # One view may disagree: its silhouette may be ragged where the others' are not.
        keep = inside_hull(small, train, xyz, misses=1)
        xyz, rgb = xyz[keep], rgb[keep]
    # The hull of an object hugs it, so it is worth filling; random points in the open only help where nothing matched.
    if len(xyz) < (ENOUGH if cut_out else FEW):
        more = hull_points(small, train, FILL, rng) if cut_out else random_points(small, train, FILL, rng)
        xyz, rgb = np.concatenate([xyz, more]), np.concatenate([rgb, colours(small, train, more)])
    if len(xyz) > max_points:
        chosen = np.sort(rng.permutation(len(xyz))[:max_points])
        xyz, rgb = xyz[chosen], rgb[chosen]
    return Points(xyz, rgb)
