"""Checkpoints of gsplat's trainer (`ckpt_*.pt`) and of nerfstudio's splatfacto (`step-*.ckpt`). Read only.

Both are zip files that torch writes; they are loaded with weights_only, so no code in them runs.
World axes are those of the training, which nerfstudio has turned and scaled against the capture.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from scenerep.errors import FormatError
from scenerep.io.repair import finite_scene
from scenerep.scenes import Gaussians

# Prefixes of splatfacto's parameters in the state of its pipeline; newer versions first.
_SPLATFACTO = ("_model.gauss_params.", "_model.")


def looks_like(data: bytes) -> bool:
    """Whether the bytes are a zip file as torch.save writes it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError):
        return False


def read(data: bytes, file: str = "<checkpoint>") -> Gaussians:
    """The Gaussians of a checkpoint.

    Raises:
        FormatError: if it is none, or holds objects other than tensors and plain containers.
    """
    content = _load(data, file)
    tensors = _find(content)
    if tensors is None:
        raise FormatError(file, "parameters of gsplat ('splats') or splatfacto ('pipeline')", "neither", 0)
    n = None
    arrays: dict[str, np.ndarray] = {}
    shapes = {"means": (3,), "log_scales": (3,), "quats": (4,), "opacity_logits": (), "dc": (3,), "rest": (None, 3)}
    for name, tail in shapes.items():
        array = _array(tensors, name, len(data), file)
        if name in ("opacity_logits", "dc") and array.ndim == len(tail) + 2:
            array = array[..., 0] if name == "opacity_logits" else array[:, 0]
        if name == "opacity_logits" and array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        fits = array.ndim == 1 + len(tail) and all(t in (None, s) for t, s in zip(tail, array.shape[1:]))
        n = len(array) if n is None and array.ndim else n
        if not fits or len(array) != n:
            raise FormatError(file, f"{name} of shape [n, {', '.join(map(str, tail))}]", str(list(array.shape)))
        arrays[name] = array
    sh = np.concatenate([arrays.pop("dc")[:, None], arrays.pop("rest")], axis=1)
    metadata: dict[str, object] = {}
    if sh.shape[1] not in (1, 4, 9, 16):
        raise FormatError(file, "0, 3, 8 or 15 higher SH coefficients", str(sh.shape[1] - 1))
    return finite_scene({**arrays, "sh": sh}, metadata)


def _load(data: bytes, file: str) -> Any:
    import torch  # not for those who only read other formats

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # torch stores without compression; anything else could unpack to more than the file has.
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise FormatError(file, "a checkpoint stored without compression", "a compressed one", 0)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except FormatError:
        raise
    except Exception as error:  # torch's unpickler raises whatever its input provokes
        reason = str(error).split("\n")[0][:200]
        hint = "save it again with nothing but tensors in it, or export a PLY with the tool that made it"
        raise FormatError(file, "a checkpoint that loads with weights_only", reason, 0, hint) from None


def _find(content: Any) -> dict[str, Any] | None:
    """Tensors under our names, except SH: `dc` and `rest`."""
    if not isinstance(content, dict):
        return None
    splats = content.get("splats")
    if isinstance(splats, dict):
        names = ("means", "scales", "quats", "opacities", "sh0", "shN")
        return _rename({name: splats[name] for name in names if name in splats}, names)
    pipeline = content.get("pipeline")
    if isinstance(pipeline, dict):
        names = ("means", "scales", "quats", "opacities", "features_dc", "features_rest")
        for prefix in _SPLATFACTO:
            if f"{prefix}means" in pipeline:
                return _rename({name: pipeline.get(prefix + name) for name in names}, names)
    return None


def _rename(found: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {ours: found.get(name) for ours, name in zip(_OURS, names)}


_OURS = ("means", "log_scales", "quats", "opacity_logits", "dc", "rest")


def _array(tensors: dict[str, Any], name: str, size: int, file: str) -> np.ndarray:
    """A float32 copy of a tensor that takes no more bytes than the file has (strides of zero could claim more)."""
    import torch

    tensor = tensors[name]
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        raise FormatError(file, f"a tensor of {name}", type(tensor).__name__)
    if tensor.numel() * tensor.element_size() > size or tensor.layout != torch.strided:
        raise FormatError(file, f"at most {size} bytes of {name}", f"{tensor.numel() * tensor.element_size()}")
    return tensor.detach().to(torch.float32).contiguous().numpy().copy()
