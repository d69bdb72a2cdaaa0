"""What the page is offered: files that its decoders read, and a description of them with cameras and photographs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scenerep.captures import Capture
from scenerep.geometry.cameras import Camera, camera_entry
from scenerep.geometry.layout import camera_layout
from scenerep.io import ply, srz
from scenerep.io.files import write_bytes
from scenerep.scenes import Gaussians, MipVoxels, Voxels
from scenerep.viewer.server import typical_view

PAGE_FORMATS = frozenset({"ply", "compressed.ply", "splat", "spz", "sog", "srz"})
"""What viewer/web/formats decodes. All other splats are turned into a PLY, which holds all that a scene has."""


@dataclass(frozen=True)
class Offer:
    """A scene that may be fetched.

    name: Shown to people: a file's or a run's name, never a path.
    file: Where its bytes are, symbolic links resolved.
    format: A member of PAGE_FORMATS.
    count: Gaussians or voxels.
    voxels: Whether it is a voxel field.
    """

    name: str
    file: Path
    format: str
    count: int
    voxels: bool = False

    @property
    def id(self) -> str:
        """Stands for the file in URLs: the same after a restart, and says nothing about the path."""
        return hashlib.blake2b(str(self.file).encode(), digest_size=9).hexdigest()


def offer_scene(path: Path, scene: Gaussians | Voxels | MipVoxels, folder: Path) -> Offer:
    """A scene that was read from `path`: that file itself where the page reads it, else a file of it in `folder`.

    Of splats that is a PLY, of voxels an .srz with steps that a picture does not show.
    """
    name, voxels = path.resolve().name, not isinstance(scene, Gaussians)
    if is_read_by_page(path, scene):
        return Offer(name, path.resolve(), scene.metadata["format"], len(scene), voxels)
    if isinstance(scene, Gaussians):
        kind, data = "ply", ply.write(scene, ply.PlyOptions(all_bands=False))
    else:
        kind, data = "srz", srz.write_voxels(scene)
    file = folder / f"{len(list(folder.iterdir()))}.{kind}"
    write_bytes(file, data)
    return Offer(name, file.resolve(), kind, len(scene), voxels)


def is_read_by_page(path: Path, scene: Gaussians | Voxels | MipVoxels) -> bool:
    """Whether the page reads the file at `path`, from which `scene` was read."""
    kind = scene.metadata.get("format")
    if not path.is_file() or kind not in PAGE_FORMATS:
        return False
    if kind != "ply":
        return True
    # Text and big-endian ones are rare, and the page need not know them.
    with path.open("rb") as file:
        return b"format binary_little_endian" in file.read(256)


@dataclass(frozen=True)
class Surroundings:
    """What belongs to all scenes of a page.

    title: Of the page.
    background: Colour behind the scenes, in [0, 1]: that of the training, or thin parts look wrong.
    capture: The photographs, if they are known.
    cameras: Where the scenes were photographed from; those of the capture if there is one.
    budget: Draw at most so many Gaussians at the start; None draws all.
    up: [3] unit vector; None asks the cameras.
    """

    title: str = "scenerep"
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    capture: Capture | None = None
    cameras: Sequence[Camera] = ()
    budget: int | None = None
    up: np.ndarray | None = None

    def describe(self) -> dict[str, Any]:
        """The part of `scenes.json` that is not about single scenes (docs/viewer.md has the table)."""
        entries = self._camera_entries()
        told: dict[str, Any] = {
            "title": self.title,
            "background": list(self.background),
            "budget": self.budget,
            "up": None if self.up is None else self.up.tolist(),
            "start": None,
            "cameras": entries,
        }
        # Held-out places may be badly seen by the others: the first look is that of a training camera.
        chosen = [i for i, entry in enumerate(entries) if entry["split"] != "test"] or list(range(len(entries)))
        if chosen:
            cameras = [self._camera(i) for i in chosen]
            layout = camera_layout(cameras)
            told["up"] = told["up"] or layout.up.tolist()
            typical = typical_view(cameras, layout)
            told["start"] = chosen[next(k for k, camera in enumerate(cameras) if camera is typical)]
        return told

    def photograph(self, i: int) -> np.ndarray:
        """uint8 [h, w, 3]: what a picture of camera `i` is measured against; transparent parts show the background."""
        assert self.capture is not None
        picture = self.capture.image(i)
        if picture.shape[2] == 3:
            return picture
        alpha = picture[..., 3:].astype(np.float32) / 255
        behind = 255 * np.asarray(self.background, np.float32)
        return np.round(picture[..., :3] * alpha + behind * (1 - alpha)).astype(np.uint8)

    def _camera(self, i: int) -> Camera:
        return self.capture.camera(i) if self.capture is not None else self.cameras[i]

    def _camera_entries(self) -> list[dict[str, Any]]:
        if self.capture is None:
            return [
                {**camera_entry(camera), "name": f"camera {i + 1}", "split": None, "photo": None}
                for i, camera in enumerate(self.cameras)
            ]
        return [
            {**camera_entry(self.capture.camera(i)), "name": view.name, "split": view.split, "photo": f"photo/{i}"}
            for i, view in enumerate(self.capture.views)
        ]
