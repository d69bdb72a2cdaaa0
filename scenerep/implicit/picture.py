"""Pictures as coordinate networks: pixel centres in, colours out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scenerep import metrics
from scenerep.captures.pictures import load_picture
from scenerep.errors import ConfigError
from scenerep.evaluation.pictures import flatten
from scenerep.events import Evaluated
from scenerep.implicit.evaluate import field_values, network_of
from scenerep.implicit.networks import Field
from scenerep.implicit.subjects import Still
from scenerep.scenes import PICTURE, NeuralField, unit_places

_BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0)}
_MAX_SIDE = 16384


class PictureSubject(Still):
    """A picture to be learned; see subjects.Subject. pixels: float32 [h, w, 3] in [0, 1]."""

    name = PICTURE
    inputs, outputs = 2, 3
    squares = True

    def __init__(self, pixels: np.ndarray) -> None:
        height, width = pixels.shape[:2]
        self.pixels = pixels
        self.box = np.array([[0.0, 0.0], [width, height]])
        self.finest = max(16, max(width, height) // 2)
        self.warnings: list[str] = []
        self._places = pixel_places(self.box, width, height)
        self._targets = np.ascontiguousarray(2 * pixels.reshape(-1, 3) - 1, np.float32)

    @classmethod
    def of_file(cls, path: Path, max_side: int | None, background: str) -> PictureSubject:
        """Raises: DataError if the file is no picture."""
        pixels = load_picture(path)
        height, width = pixels.shape[:2]
        if max_side is not None and max(height, width) > max_side:
            factor = max_side / max(height, width)
            size = max(1, round(width * factor)), max(1, round(height * factor))
            pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
        return cls(flatten(pixels, _BACKGROUNDS[background]))

    def prepare(self, seed: int) -> None:
        """Nothing to do."""

    def scene(self, field: Field) -> NeuralField:
        return NeuralField(field.shape, field.weights(), PICTURE, self.box)

    def residuals(self, field: Field, rng: np.random.Generator, count: int) -> Tensor:
        """Of the colours of random pixels, in the network's units: 2 is white against black."""
        rows = rng.integers(0, len(self._places), count)
        return field(torch.from_numpy(self._places[rows])) - torch.from_numpy(self._targets[rows])

    def measure(self, field: Field, step: int, *, full: bool) -> Evaluated:
        """PSNR and SSIM of the whole picture, rounded to 8 bits as it would be stored."""
        height, width = self.pixels.shape[:2]
        drawn = _colours(field, self._places).reshape(height, width, 3)
        rounded = np.round(drawn * 255) / np.float32(255)
        return Evaluated(step, metrics.psnr(rounded, self.pixels), metrics.ssim(rounded, self.pixels), 1)


def pixel_places(box: np.ndarray, width: int, height: int) -> np.ndarray:
    """float32 [h w, 2]: the centres of a picture of this size over the box, row by row, in [-1, 1]."""
    x = box[0, 0] + (np.arange(width) + 0.5) * (box[1, 0] - box[0, 0]) / width
    y = box[0, 1] + (np.arange(height) + 0.5) * (box[1, 1] - box[0, 1]) / height
    return unit_places(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), box)


def draw_picture(scene: NeuralField, max_side: int | None = None) -> np.ndarray:
    """float32 [h, w, 3] in [0, 1]: the picture at its own size, or at another one: a network has no pixels.

    Raises:
        ConfigError: if the network is of a surface.
    """
    if scene.subject != PICTURE:
        raise ConfigError(f"this network holds a {scene.subject}, no picture", "export a mesh: name a file mesh.glb")
    width, height = (round(float(n)) for n in scene.box[1] - scene.box[0])
    factor = 1.0 if max_side is None else max_side / max(width, height)
    width, height = max(1, round(width * factor)), max(1, round(height * factor))
    if max(width, height) > _MAX_SIDE:
        raise ConfigError(f"a picture of {width} x {height} pixels is too large", f"at most {_MAX_SIDE} a side")
    places = pixel_places(scene.box, width, height)
    return _colours(network_of(scene), places).reshape(height, width, 3)


def _colours(field: Field, places: np.ndarray) -> np.ndarray:
    return np.clip((1 + field_values(field, places)) / 2, 0, 1)
