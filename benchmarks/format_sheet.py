"""A contact sheet of scene files: each one opened, rendered from outside, and labelled with what it is.

    python benchmarks/format_sheet.py OUT.png FILE_OR_FOLDER ... [--columns 5] [--cell 300]

Folders are searched for scenes. Cells show the scene from the ring of cameras that `scenerep view` also takes where a
file brings no cameras, with the file's own up where --turn says so: --turn biker=z draws files whose name holds `biker`
with z up. Files that hold the same scene in several formats must look the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scenerep.editing import crop_sphere, orient
from scenerep.errors import FormatError
from scenerep.evaluation.pictures import to_uint8
from scenerep.geometry.layout import surrounding_cameras
from scenerep.io import read_scene
from scenerep.io.scene_files import is_scene_folder
from scenerep.render import render
from scenerep.scenes import Gaussians

_LINE = 34
_DIRECTIONS = {"x": (1, 0, 0), "-x": (-1, 0, 0), "y": (0, 1, 0), "-y": (0, -1, 0), "z": (0, 0, 1), "-z": (0, 0, -1)}


def scenes_below(path: Path) -> list[Path]:
    """The scene files and SOG folders at `path`, by name; a file that is no scene ends the search with its error."""
    if path.is_file() or is_scene_folder(path):
        return [path]
    found: list[Path] = []
    for entry in sorted(path.iterdir()):
        if entry.suffix in (".json", ".txt", ".md", ".png"):
            continue
        found += scenes_below(entry)
    return found


def cell(scene: Gaussians, label: list[str], size: int, view: int) -> Image.Image:
    camera = surrounding_cameras(scene.means, size, size)[view]
    image = Image.fromarray(to_uint8(render(scene, camera, background=(1.0, 1.0, 1.0)).rgb))
    out = Image.new("RGB", (size, size + _LINE), (255, 255, 255))
    out.paste(image, (0, _LINE))
    draw = ImageDraw.Draw(out)
    for row, text in enumerate(label):
        draw.text((4, 3 + 15 * row), text, (20, 20, 20), ImageFont.load_default(12))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--cell", type=int, default=260, help="pixels of a picture's side")
    parser.add_argument("--view", type=int, default=2, help="which of the 24 cameras of the ring")
    parser.add_argument("--radius", type=float, help="show only what lies this close to the middle")
    parser.add_argument("--turn", nargs="*", default=[], help="NAME=DIRECTION: which direction of these files is up")
    options = parser.parse_args()
    cells = []
    for path in (found for given in options.paths for found in scenes_below(given)):
        try:
            scene = read_scene(path)
        except FormatError as error:
            raise SystemExit(f"{path}: {error}") from error
        for name, up in (entry.split("=") for entry in options.turn):
            if name in str(path):
                scene = orient(scene, np.array(_DIRECTIONS[up], np.float64))
        if options.radius is not None:
            scene = crop_sphere(scene, np.median(scene.means, axis=0), options.radius)
        name = f"{path.parent.name}/{path.name}" if path.is_dir() else path.name
        kind = f"{scene.metadata['format']} {scene.metadata.get('spz_version', '')}".strip()
        label = [name, f"{kind}, {len(scene):,}, SH {scene.sh_degree}"]
        cells.append(cell(scene, label, options.cell, options.view))
        print(*label)
    columns = min(options.columns, len(cells))
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * options.cell, rows * (options.cell + _LINE)), (255, 255, 255))
    for i, picture in enumerate(cells):
        sheet.paste(picture, (i % columns * options.cell, i // columns * (options.cell + _LINE)))
    sheet.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.FLOYDSTEINBERG).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
