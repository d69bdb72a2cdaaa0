"""COLMAP: a sparse model (text or binary) and a folder of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenerep.captures import Capture, Points, View
from scenerep.data_tools.images import find_mask
from scenerep.data_tools.readers.colmap_model import LARGE, is_model, read_model
from scenerep.data_tools.readers.common import assemble
from scenerep.errors import DataError

LOOKS_FOR = "cameras and images (.bin or .txt) in sparse/0, sparse, colmap/sparse/0 or here"
_PLACES = ("sparse/0", "sparse", "colmap/sparse/0", ".")


def detect(path: Path) -> bool:
    """Whether a COLMAP model lies in one of the usual places."""
    return any(is_model(path / place) for place in _PLACES)


def read(path: Path, *, test_every: int = 8) -> Capture:
    """Reads the model; pictures are looked for in images/ beside or above it.

    Points that are not finite are dropped. Masks are taken from masks/.

    Raises:
        DataError: the pictures are not there.
        FormatError: a file of the model is broken.
    """
    model_folder = next(path / place for place in _PLACES if is_model(path / place))
    model = read_model(model_folder)
    if not model.images:
        raise DataError(f"{model_folder} has no registered pictures", "run the reconstruction again")
    root = _root(path, model_folder, model.images[0].name)
    folder = root / "images" if (root / "images").is_dir() else root
    views = [
        View(image.name, image.camera, folder / image.name, mask=find_mask(root, image.name)) for image in model.images
    ]
    keep = (np.abs(model.xyz) < LARGE).all(axis=1)
    points = Points(model.xyz[keep], model.rgb[keep]) if keep.any() else None
    return assemble(root, "colmap", views, points=points, test_every=test_every)


def _root(path: Path, model_folder: Path, name: str) -> Path:
    """The folder with the pictures: where `path` is the model folder itself, they lie up to two levels above it."""
    for root in (path, model_folder, *model_folder.resolve().parents[:3]):
        if (root / "images" / name).is_file() or (root / name).is_file():
            return root
    return path
