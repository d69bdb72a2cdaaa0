"""The editing flags of `scenerep export`, applied in a fixed order."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenerep.errors import ConfigError, DataError, FormatError

if TYPE_CHECKING:
    import numpy as np

    from scenerep.cli.sources import Source
    from scenerep.scenes import Gaussians

_DIRECTIONS = {
    f"{sign}{axis}": tuple((-1.0 if sign else 1.0) * (axis == other) for other in "xyz")
    for sign in ("", "-")
    for axis in "xyz"
}


@dataclass(frozen=True)
class Edits:
    """Changes to the scene, in the order in which they are made."""

    merge: tuple[Path, ...] = ()
    """More runs or scene files, whose Gaussians are added."""
    remove_floaters: bool = False
    """Leave out what is nearly transparent, huge, or far from its neighbours."""
    crop_box: tuple[float, float, float, float, float, float] | None = None
    """Keep the box x y z X Y Z, in world units of the scene."""
    crop: Path | None = None
    """Keep the box of a crop.json that the page of `scenerep view` saves: {"crop_box": [x, y, z, X, Y, Z]}."""
    crop_sphere: tuple[float, float, float, float] | None = None
    """Keep the sphere x y z radius."""
    decimate: int | None = None
    """Keep this many Gaussians, those that cover most in the training views."""
    sh_degree: int | None = None
    """Drop SH above this degree."""
    recentre: bool = False
    """Put the median of the positions at the origin."""
    up: str | None = None
    """Which direction of the scene is up: x, -x, y, -y, z, -z, three numbers with commas, or `cameras` to ask them. The
    scene is turned so that this direction becomes up in the file. Default: -y, as in COLMAP, and nothing is turned."""
    scale: float | None = None
    """Multiply positions and sizes."""
    rotate: tuple[float, float, float] | None = None
    """Turn about x, then y, then z, in degrees."""
    translate: tuple[float, float, float] | None = None
    """Move, after everything else."""


def apply_edits(source: Source, edits: Edits, data: Path | None = None) -> Gaussians:
    """The source's scene after the edits. Cameras, where one needs them: those of `data`, else the source's own."""
    import numpy as np

    from scenerep import editing
    from scenerep.cli.sources import open_source

    scene = source.gaussians
    if edits.merge:
        scene = editing.merge([scene, *(open_source(path).gaussians for path in edits.merge)])
    if edits.remove_floaters:
        scene = editing.remove_floaters(scene)
    if edits.crop_box is not None:
        scene = editing.crop_box(scene, edits.crop_box[:3], edits.crop_box[3:])
    if edits.crop is not None:
        box = read_crop(edits.crop)
        scene = editing.crop_box(scene, box[:3], box[3:])
    if edits.crop_sphere is not None:
        scene = editing.crop_sphere(scene, edits.crop_sphere[:3], edits.crop_sphere[3])
    if edits.decimate is not None:
        from scenerep.render import significance

        weights = significance(scene, source.cameras(source.capture_if_any(data)))
        scene = editing.decimate(scene, edits.decimate, weights)
    if edits.sh_degree is not None:
        scene = editing.cut_degree(scene, edits.sh_degree)
    if edits.recentre:
        scene = editing.recentre(scene)
    if edits.up is not None:
        scene = editing.orient(scene, _up(edits.up, source, data))
    rotation = None
    if edits.rotate is not None:
        from scenerep.geometry.quaternions import rotation_from_axis_angle

        x, y, z = (rotation_from_axis_angle(np.radians(a) * np.eye(3)[i]) for i, a in enumerate(edits.rotate))
        rotation = z @ y @ x
    if rotation is not None or edits.scale is not None or edits.translate is not None:
        scale = 1.0 if edits.scale is None else edits.scale
        scene = editing.transform(scene, scale=scale, rotation=rotation, translation=edits.translate or (0, 0, 0))
    return scene


def read_crop(path: Path) -> tuple[float, ...]:
    """The box x y z X Y Z of a crop.json.

    Raises:
        DataError: if the file cannot be read.
        FormatError: if it holds no box.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "name a crop.json") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(path, "JSON", str(error), getattr(error, "pos", None)) from None
    box: Any = content.get("crop_box") if isinstance(content, dict) else None
    sound = isinstance(box, list) and all(type(x) in (int, float) and math.isfinite(x) for x in box)
    if not sound or len(box) != 6 or any(low > high for low, high in zip(box[:3], box[3:], strict=True)):
        raise FormatError(
            path, "'crop_box': six numbers x y z X Y Z, the lower corner first", repr(box)[:60], None, "save it again"
        )
    return tuple(float(x) for x in box)


def _up(text: str, source: Source, data: Path | None) -> np.ndarray:
    import numpy as np

    if text == "cameras":
        from scenerep.geometry.layout import up_vector

        if source.run is None and data is None:
            raise ConfigError(
                f"{source.path} has no cameras to ask which way is up",
                "name a direction with --up, or a capture with --data",
            )
        return up_vector(source.cameras(source.capture_if_any(data)))
    try:
        numbers = _DIRECTIONS[text] if text in _DIRECTIONS else tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise ConfigError(
            f"--up {text} is no direction", "use x, -x, y, -y, z, -z, cameras, or three numbers: 0,0.7,0.7"
        )
    return np.array(numbers)
