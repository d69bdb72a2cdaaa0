"""What an `.srz` file may hold: a table of kinds, and the door that decodes all of them.

A kind of its own is a line in `KINDS`: its number, and a function from the chunks of a file to `Decoded`, in this
package, so that everything that reads scenes reads it. Kind 1 has a head of its own (container.py).
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerep.coding.chunked import ChunkedFile, kind_of, read_chunked
from scenerep.coding.container import KIND_SPLATS, read_head
from scenerep.coding.quantised import dequantise
from scenerep.coding.scene_codec import bits_of_file, decode
from scenerep.errors import FormatError
from scenerep.scenes import Gaussians, Scene


@dataclass(frozen=True)
class Decoded:
    """A file as a plain scene.

    digest: SHA-256 of the decoded integers, the same on every machine.
    """

    scene: Scene
    digest: str
    layer_count: int = 1
    decoded_layers: int = 1


@dataclass(frozen=True)
class Kind:
    """name: One word. decode: `(ChunkedFile) -> Decoded` as `module:attribute`; empty for kind 1."""

    name: str
    decode: str


KIND_CODEBOOKS = 2
KIND_VOXELS, KIND_MIP_VOXELS = 4, 5
KIND_FIELD = 6

KINDS = {
    KIND_SPLATS: Kind("splats", ""),
    KIND_CODEBOOKS: Kind("codebooks", "scenerep.coding.codebook_splats:decode_codebooks"),
    3: Kind("anchors", "scenerep.coding.anchored:decode"),
    KIND_VOXELS: Kind("voxels", "scenerep.coding.voxels:decode_voxels"),
    KIND_MIP_VOXELS: Kind("mip-voxels", "scenerep.coding.voxels:decode_mip_voxels"),
    KIND_FIELD: Kind("field", "scenerep.coding.weights:decode_field"),
}


def decode_file(
    data: bytes, *, max_layer: int | None = None, sh_degree: int | None = None, file: str = "<srz>"
) -> Decoded:
    """The scene in an `.srz` file of any kind.

    Args:
        max_layer: Leave out the layers above this one, where there are any.
        sh_degree: Leave out (as zero) the SH bands above this one.
        file: Name for messages.

    Raises:
        FormatError: the bytes are no `.srz` file, are broken, or end before the first layer does.
    """
    kind = _kind(data, file)
    if not kind.decode:
        q = decode(data, max_layer=max_layer, sh_degree=sh_degree, file=file)
        return Decoded(dequantise(q), q.digest(), q.layer_count, q.decoded_layers)
    content = read_chunked(data, file)
    module, _, attribute = kind.decode.partition(":")
    run: Callable[[ChunkedFile], Decoded] = getattr(importlib.import_module(module), attribute)
    decoded = run(content)
    if len(decoded.scene) != content.count or decoded.scene.sh_degree != content.sh_degree:
        found = f"{len(decoded.scene)} of degree {decoded.scene.sh_degree}"
        expected = f"{content.count} {decoded.scene.noun} of SH degree {content.sh_degree}"
        raise FormatError(file, expected, found, 20)
    if not isinstance(decoded.scene, Gaussians):
        return decoded
    scene = dataclasses.replace(decoded.scene, antialiased=content.antialiased, metadata=content.metadata)
    if sh_degree is not None and sh_degree < content.sh_degree:
        kept = np.arange(scene.sh.shape[1]) < (sh_degree + 1) ** 2
        scene = dataclasses.replace(scene, sh=scene.sh * kept[:, None])
    return dataclasses.replace(decoded, scene=scene)


@dataclass(frozen=True)
class Summary:
    """What a file says of itself, without decoding it. streams: bytes by name, of which `head` is what they share."""

    kind: str
    count: int
    sh_degree: int
    antialiased: bool
    streams: dict[str, int]
    metadata: dict[str, Any]


def summarise(data: bytes, file: str = "<srz>") -> Summary:
    """Raises: FormatError if the head of the file is broken (or any of it, in other kinds than 1)."""
    kind = _kind(data, file)
    if not kind.decode:
        head = read_head(data, file)
        streams = {name: bits // 8 for name, bits in bits_of_file(data, file).items()}
        degree = head.quantiser.sh_degree
        return Summary(kind.name, head.count, degree, head.antialiased, streams, head.metadata or {})
    content = read_chunked(data, file)
    streams = {"head": content.head_length} | {name: len(chunk) for name, chunk in content.chunks.items()}
    return Summary(kind.name, content.count, content.sh_degree, content.antialiased, streams, content.metadata)


def _kind(data: bytes, file: str) -> Kind:
    number = kind_of(data, file)
    if number not in KINDS:
        known = ", ".join(f"{number} ({kind.name})" for number, kind in KINDS.items())
        raise FormatError(file, f"a kind among {known}", str(number), 10, "update scenerep: the file is newer")
    return KINDS[number]
