"""An orbit video of a trained run or a PLY file, with the library instead of the command line.

python examples/render_orbit.py runs/blobs/splats/latest orbit.mp4
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scenerep.evaluation import to_uint8
from scenerep.geometry.layout import surrounding_cameras
from scenerep.geometry.paths import orbit
from scenerep.io import read_scene
from scenerep.io.video import write_video
from scenerep.render import render
from scenerep.runs import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a run's folder or a PLY file")
    parser.add_argument("out", type=Path, help="the video, .mp4")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--width", type=int, default=480)
    args = parser.parse_args()

    scene = Run.open(args.source).scene() if args.source.is_dir() else read_scene(args.source)
    # A capture's cameras would do as well: [capture.camera(i) for i in capture.train]
    cameras = surrounding_cameras(scene.means, width=args.width, height=args.width * 9 // 16)
    path = orbit(cameras, args.frames, points=scene.means)
    size = write_video(args.out, (to_uint8(render(scene, camera).rgb) for camera in path), fps=30)
    print(f"{args.out}: {args.frames} pictures of {size[0]} x {size[1]}")


if __name__ == "__main__":
    main()
