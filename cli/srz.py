"""What `scenerep info` says about an `.srz` file; by its head alone, nothing is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenerep.coding.kinds import Summary


def describe(path: Path) -> dict[str, Any]:
    """Count, layers, and bytes of each stream.

    Raises:
        FormatError: the head of the file is broken.
    """
    from scenerep.coding import summarise

    data = path.read_bytes()
    said = summarise(data, str(path))
    names = ("generator", "licence", "method")
    return {
        "kind": "scene",
        "file": str(path),
        "representation": said.kind,
        "count": said.count,
        "sh_degree": said.sh_degree,
        "antialiased": said.antialiased,
        "bytes": len(data),
        **_of_each(said, len(data)),
        "streams": said.streams,
        **(_of_splats(data, str(path)) if said.kind == "splats" else {}),
        **{name: said.metadata[name] for name in names if name in said.metadata},
    }


def _of_each(said: Summary, size: int) -> dict[str, Any]:
    """Bytes and bits of a Gaussian or a weight."""
    if said.count == 0:
        return {}
    if said.kind == "field":
        return {"bits_per_weight": round(8 * size / said.count, 3)}
    bits = {name: 8 * length / said.count for name, length in said.streams.items()}
    return {"bytes_per_gaussian": round(size / said.count, 3), "bits_per_gaussian": bits}


def _of_splats(data: bytes, file: str) -> dict[str, Any]:
    """Layers and the grid, of the kind that has them."""
    from scenerep.coding.container import read_head

    head = read_head(data, file)
    layers = []
    for number in range(head.layer_count):
        chunks = [chunk for chunk in head.chunks if chunk.layer == number]
        layers.append({
            "count": sum(chunk.count for chunk in chunks),
            "bytes": sum(sum(chunk.lengths) for chunk in chunks),
            "complete": all(chunk.end <= len(data) for chunk in chunks),
        })  # fmt: skip
    return {
        "layers": layers,
        "chunks": len(head.chunks),
        "octree_depth": head.quantiser.depth,
        "canonical": head.quantiser.canonical,
    }
