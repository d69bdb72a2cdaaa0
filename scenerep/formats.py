"""The table of scene formats. Entries name their module, which is imported on use, so the table costs nothing to read.

A module has `read(data: bytes, file: str) -> Gaussians`, and, where the format is written, `write(scene) -> bytes` or
`write(scene, options) -> bytes`. Files are recognised by their content (io/scene_files.py), never by these endings.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Format:
    """A file format for scenes.

    help: What it is, in a few words.
    endings: File names that ask for it when writing; the longest that fits wins.
    reader, writer: Modules under `scenerep.io`; no writer: read only.
    sh_degree: The highest SH degree that it holds.
    antialiased: Whether it says that a scene was trained antialiased.
    rounds: What it rounds, in words; empty if values come back as they were.
    """

    help: str
    endings: tuple[str, ...]
    reader: str
    writer: str | None
    sh_degree: int = 3
    antialiased: bool = False
    rounds: str = ""

    def load_reader(self) -> ModuleType:
        return importlib.import_module(f"scenerep.io.{self.reader}")

    def load_writer(self) -> ModuleType:
        """The module that writes; only for formats that have one."""
        return importlib.import_module(f"scenerep.io.{self.writer}")


FORMATS = {
    "ply": Format("3DGS PLY, which every splat tool reads", (".ply",), "ply", "ply", antialiased=True),
    "compressed.ply": Format(
        "PlayCanvas compressed PLY",
        (".compressed.ply",),
        "compressed_ply",
        "compressed_ply",
        rounds="positions and sizes to 10 or 11 bits within each 256, rotations to 10 bits, colours to 8, SH to 1/32",
    ),
    "spz": Format(
        "SPZ by Niantic, versions 1 to 4",
        (".spz",),
        "spz",
        "spz",
        antialiased=True,
        rounds="positions to fixed point, sizes to 1/16 in ln, opacities and colours to 8 bits, SH to 5 and 4 bits",
    ),
    "sog": Format(
        "SOG 2 by PlayCanvas, one .sog file or a folder with meta.json",
        (".sog", "meta.json"),
        "sog",
        "sog_writer",
        antialiased=True,
        rounds="positions to 16 bits, sizes and colours to 256 levels, rotations to bytes, SH to a palette",
    ),
    "splat": Format(
        ".splat, rows of 32 bytes",
        (".splat",),
        "splat",
        "splat",
        sh_degree=0,
        rounds="opacities, colours and rotations to 8 bits",
    ),
    "ksplat": Format(".ksplat 0.1", (".ksplat",), "ksplat", None),
    "glb": Format("glTF with KHR_gaussian_splatting", (".glb",), "glb", "glb"),
    "srz": Format(
        "our small, layered scene file",
        (".srz",),
        "srz",
        "srz",
        antialiased=True,
        rounds="everything to steps that a picture does not show; `scenerep compress` makes smaller files",
    ),
    "checkpoint": Format(
        "checkpoints of gsplat and of nerfstudio's splatfacto", (".ckpt", ".pt"), "torch_checkpoint", None
    ),
}


def format_of_name(name: str) -> str | None:
    """The format that a file name asks for when writing, or None."""
    lower = name.lower()
    fitting = [
        (len(ending), key)
        for key, entry in FORMATS.items()
        for ending in entry.endings
        if lower.endswith(ending) and (ending != "meta.json" or lower == ending)
    ]
    return max(fitting)[1] if fitting else None
