"""`.splat` (antimatter15): rows of 32 bytes, no header. Byte table: docs/formats/README.md.

Lost: everything of SH but degree 0; colours, opacities and rotations are rounded to bytes.
"""

from __future__ import annotations

import numpy as np

from scenerep.errors import FormatError
from scenerep.geometry.sh import rgb_from_dc
from scenerep.io.packing import dc_from_bytes, logits_from_bytes, opacity, to_bytes
from scenerep.io.repair import finite_scene
from scenerep.scenes import Gaussians

_ROW = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def write(scene: Gaussians) -> bytes:
    """The scene as .splat, most visible Gaussians first (size times opacity), as viewers that load in parts expect."""
    weight = scene.log_scales.sum(axis=1, dtype=np.float64) + np.log(np.maximum(opacity(scene.opacity_logits), 1e-9))
    scene = scene.select(np.argsort(-weight, kind="stable"))
    rows = np.zeros(len(scene), _ROW)
    rows["mean"] = scene.means
    with np.errstate(over="ignore"):
        rows["scale"] = np.exp(scene.log_scales)
    rows["rgba"][:, :3] = to_bytes(rgb_from_dc(scene.sh[:, 0]) * 255)
    rows["rgba"][:, 3] = to_bytes(opacity(scene.opacity_logits) * 255)
    length = np.maximum(np.linalg.norm(scene.quats, axis=1, keepdims=True), 1e-30)
    rows["quat"] = to_bytes(scene.quats / length * 128 + 128)
    return rows.tobytes()


def looks_like(data: bytes) -> bool:
    """Whether bytes without any mark of their own can be a .splat: whole rows, sane numbers in all of them."""
    if len(data) == 0 or len(data) % _ROW.itemsize:
        return False
    rows = np.frombuffer(data, _ROW)
    scale = rows["scale"]
    with np.errstate(invalid="ignore"):
        sane = np.isfinite(rows["mean"]).all(axis=1) & ((scale >= 0) & (scale < 1e12)).all(axis=1)
    # A few broken rows are repaired by `read`; noise has sane floats in one row of several.
    return bool(sane.mean() > 0.9 and scale.any())


def read(data: bytes, file: str = "<splat>") -> Gaussians:
    """A scene from .splat bytes.

    Raises:
        FormatError: if they are not a whole number of rows with finite positions and sizes that are not negative.
    """
    if len(data) % _ROW.itemsize:
        rest = len(data) % _ROW.itemsize
        raise FormatError(
            file, "rows of 32 bytes", f"{rest} bytes too many", len(data) - rest, "the file may be cut off"
        )
    if not looks_like(data):
        raise FormatError(
            file, "rows of .splat", "no rows" if not data else "numbers that are no positions and sizes", 0
        )
    rows = np.frombuffer(data, _ROW)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_scales = np.log(rows["scale"])
    quats = (rows["quat"].astype(np.float32) - 128) / 128
    arrays = {
        "means": rows["mean"].copy(),
        "log_scales": log_scales,
        "quats": quats,
        "opacity_logits": logits_from_bytes(rows["rgba"][:, 3]),
        "sh": dc_from_bytes(rows["rgba"][:, None, :3]),
    }
    metadata: dict[str, object] = {}
    return finite_scene(arrays, metadata)
