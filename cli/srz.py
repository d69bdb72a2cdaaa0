"""What `scenerep info` says about an `.srz` file; by its head alone, nothing is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def describe(path: Path) -> dict[str, Any]:
    """Count, layers, and bytes of each stream.

    Raises:
        FormatError: the head of the file is broken.
    """
    from scenerep.coding.container import read_head
    from scenerep.coding.scene_codec import bits_of_file

    data = path.read_bytes()
    head = read_head(data, str(path))
    q = head.quantiser
    streams = {name: bits // 8 for name, bits in bits_of_file(data, str(path)).items()}
    layers = []
    for number in range(head.layer_count):
        chunks = [chunk for chunk in head.chunks if chunk.layer == number]
        layers.append({
            "count": sum(chunk.count for chunk in chunks),
            "bytes": sum(sum(chunk.lengths) for chunk in chunks),
            "complete": all(chunk.end <= len(data) for chunk in chunks),
        })  # fmt: skip
    metadata = head.metadata or {}
    return {
        "kind": "scene",
        "file": str(path),
        "count": head.count,
        "sh_degree": q.sh_degree,
        "antialiased": head.antialiased,
        "bytes": len(data),
        "bytes_per_gaussian": round(len(data) / head.count, 3) if head.count else None,
        "bits_per_gaussian": {name: 8 * size / head.count for name, size in streams.items()} if head.count else None,
        "streams": streams,
        "layers": layers,
        "chunks": len(head.chunks),
        "octree_depth": q.depth,
        "canonical": q.canonical,
        **{name: metadata[name] for name in ("generator", "licence") if name in metadata},
    }
