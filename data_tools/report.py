"""What `scenerep data photos` and `video` tell about their work: the object behind report.json and the printed text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = "report.json"


@dataclass
class Report:
    """The outcome of finding the cameras.

    registered, total: pictures that found their place, and that were tried. unregistered: the names of the others.
    skipped: pictures that could not be read, and why. points: sparse 3D points. reprojection_px: mean distance between
    a point's projection and its feature, in pixels of pictures of `sfm_side`. observations: mean number of points that
    a picture sees. models: pictures in each separate model found; only the first is kept. cameras: focal length and
    distortion per lens, in pixels of the stored pictures. pairs, matching, features, attempts: what it took. seconds:
    wall time per stage. video: the choice of frames (video only).
    """

    out: str
    registered: int
    total: int
    unregistered: list[str]
    skipped: dict[str, str]
    points: int
    reprojection_px: float
    sfm_side: int
    observations: float
    models: list[int]
    cameras: list[dict[str, Any]]
    matching: str
    pairs: int
    features: str
    attempts: int
    seconds: dict[str, float]
    warnings: list[str] = field(default_factory=list)
    video: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Writes report.json into `folder`."""
        (folder / FILE).write_text(json.dumps(self.as_dict(), indent=2) + "\n")

    def rows(self) -> list[tuple[str, str]]:
        """Two columns for people."""
        rows = [("capture", self.out)]
        if self.video:
            rows.append(("frames", f"{self.video['chosen']} of {self.video['decoded']} in {self.video['file']}"))
        rows.append(("registered", f"{self.registered} of {self.total} pictures"))
        if self.unregistered:
            rows.append(("not registered", _names(self.unregistered)))
        if self.skipped:
            rows.append(("skipped", _names(list(self.skipped))))
        rows.append(("points", f"{self.points}, a picture sees {self.observations:.0f}"))
        rows.append(("reprojection error", f"{self.reprojection_px:.2f} px (at {self.sfm_side} px)"))
        for camera in self.cameras:
            lens = ", ".join(f"{value:.4g}" for value in camera["distortion"]) or "none"
            size = f"{camera['width']}x{camera['height']}"
            rows.append(("camera", f"{size}, focal length {camera['fx']:.1f} px, distortion {lens}"))
        rows.append(("matching", f"{self.matching}, {self.pairs} pairs, {self.features} features"))
        rows.append(("seconds", ", ".join(f"{name} {value:.1f}" for name, value in self.seconds.items())))
        return rows


def _names(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
