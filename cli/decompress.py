"""`scenerep decompress x.srz out.ply`: a small scene file as one that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from scenerep.cli.common import format_bytes, print_json, print_table, say
from scenerep.errors import DataError


def decompress_command(
    source: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    max_layer: int | None = None,
    sh_degree: int | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Decode an .srz file and write the scene in another format.

    Args:
        source: The .srz file. If it was cut off, its complete layers are decoded.
        out: The file to write; its ending names the format. Voxel fields are written as arrays to .npz.
        max_layer: Leave out the layers above this one (0 is the coarsest).
        sh_degree: Leave out the SH bands above this one.
        overwrite: Replace the file if it exists.
        json: Print one JSON object.
    """
    from scenerep.coding import decode_file
    from scenerep.io import write_scene
    from scenerep.io.field_arrays import write_field
    from scenerep.io.files import refuse_existing
    from scenerep.scenes import Gaussians

    refuse_existing(out, overwrite)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}", "name an .srz file") from error
    found = decode_file(data, max_layer=max_layer, sh_degree=sh_degree, file=str(source))
    if isinstance(found.scene, Gaussians):
        write_scene(found.scene, out, overwrite=overwrite)
    else:
        write_field(found.scene, out, overwrite=overwrite)
    result = {
        "file": str(out),
        "bytes": out.stat().st_size,
        "count": len(found.scene),
        "layers": found.layer_count,
        "decoded_layers": found.decoded_layers,
        "sha256": found.digest,
    }
    if json:
        print_json(result)
        return
    print_table([
        ("file", str(out)),
        ("size", f"{format_bytes(result['bytes'])}, from {format_bytes(len(data))}"),
        (found.scene.noun, f"{len(found.scene):,}"),
        ("layers", f"{found.decoded_layers} of {found.layer_count}"),
        ("SHA-256 of the integers", found.digest),
    ])  # fmt: skip
    if found.decoded_layers < found.layer_count and max_layer is None:
        say("the file was cut off: the layers that are complete were written")
