"""Scenes are plain numpy arrays: crop one to a ball, drop faint Gaussians, make it brighter, and write it as PLY.

python examples/edit_splats.py scene.ply cropped.ply --radius 2
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from scenerep.geometry.sh import C0
from scenerep.io import read_scene, write_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--centre", type=float, nargs=3, help="default: the median of the Gaussians")
    parser.add_argument("--radius", type=float, default=1.0, help="world units")
    parser.add_argument("--brighter", type=float, default=0.0, help="added to the colours, which are in [0, 1]")
    args = parser.parse_args()

    scene = read_scene(args.source)
    centre = np.median(scene.means, axis=0) if args.centre is None else np.array(args.centre)
    inside = np.linalg.norm(scene.means - centre, axis=1) < args.radius
    visible = scene.opacity_logits > np.log(0.01 / 0.99)  # opacity above 1 %
    edited = scene.select(inside & visible)
    sh = edited.sh.copy()
    sh[:, 0] += args.brighter / C0  # the colour of degree 0 is 0.5 + C0 f
    write_scene(replace(edited, sh=sh), args.out)
    print(f"{len(edited)} of {len(scene)} Gaussians are in {args.out}")


if __name__ == "__main__":
    main()
