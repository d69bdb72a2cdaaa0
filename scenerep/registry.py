"""The table of contents: every method, codec and file format, one line each.

Entries name their code as `module:attribute`, and `load` imports it on use: this table costs nothing to read, so
`scenerep --help` answers at once. A new entry needs nothing else: the command line and the tests walk over the tables.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from scenerep.formats import FORMATS, Format
from scenerep.image_codecs import CODECS, Codec

__all__ = ["CODECS", "COMPRESSORS", "FORMATS", "METHODS", "Codec", "Compressor", "Format", "Method", "load"]


@dataclass(frozen=True)
class Method:
    """A way from a capture to a scene.

    help: One line for `scenerep train --help`.
    config: A frozen dataclass without torch; the docstrings of its fields are the options' help.
    train: `(run, capture, config) -> Iterator[Event]`. It goes on from the run's latest checkpoint if there is one,
        logs to the run, prints nothing, and saves when the caller closes the iterator (that is how Ctrl-C ends it).
    counts: What its events and its scenes count.
    points: Whether it starts from sparse points, which are triangulated where a capture has none.
    reads: What --data names: a capture, or a subject (a picture, a mesh or a capture); that is what `train` gets.
    """

    help: str
    config: str
    train: str
    counts: str = "Gaussians"
    points: bool = True
    reads: Literal["capture", "subject"] = "capture"


@dataclass(frozen=True)
class Compressor:
    """A way from a scene to a small file.

    config: A frozen dataclass without torch; the docstrings of its fields are the options' help.
    compress: `(job, config) -> Iterator[Event]`, see compress/base.py. The last event is a `Compressed`.
    """

    help: str
    config: str
    compress: str


METHODS = {
    "splats": Method("Gaussian splatting", "scenerep.splats.config:SplatsConfig", "scenerep.splats.train:train"),
    "voxels": Method(
        "Radiance field on a voxel grid",
        "scenerep.voxel_training.config:VoxelsConfig",
        "scenerep.voxel_training.train:train",
        counts="voxels",
        points=False,
    ),
    "mip-voxels": Method(
        "Anti-aliased radiance field on a pyramid of voxel grids, after Mip-VoG",
        "scenerep.voxel_training.config:MipVoxelsConfig",
        "scenerep.voxel_training.mip:train",
        counts="voxels",
        points=False,
    ),
    "field": Method(
        "Coordinate network of a picture, a mesh or a capture",
        "scenerep.implicit.config:FieldConfig",
        "scenerep.implicit.train:train",
        counts="weights",
        points=False,
        reads="subject",
    ),
}

COMPRESSORS = {
    "rdo": Compressor(
        "Count, colour detail, steps and fine-tuning under one rate-distortion objective",
        "scenerep.compress.rdo.config:RdoConfig",
        "scenerep.compress.rdo.compressor:compress",
    ),
    "rdo-gaussian": Compressor(
        "RDO-Gaussian: learned masks for Gaussians and SH bands, entropy-constrained vector quantisation",
        "scenerep.compress.rdo_gaussian.config:RdoGaussianConfig",
        "scenerep.compress.rdo_gaussian.compressor:compress",
    ),
    "light-gaussian": Compressor(
        "LightGaussian: prune by significance, distil the colour, quantise the least significant by vectors",
        "scenerep.compress.light_gaussian.config:LightGaussianConfig",
        "scenerep.compress.light_gaussian.compressor:compress",
    ),
    "compgs": Compressor(
        "CompGS: primitives predicted from anchors and residuals, trained under L + lambda R with an entropy model",
        "scenerep.compress.compgs.config:CompgsConfig",
        "scenerep.compress.compgs.compressor:compress",
    ),
}


def load(name: str) -> Any:
    """The object behind `module:attribute`."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
