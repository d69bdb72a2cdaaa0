"""How time and memory grow: over Gaussians, over pixels, and at the sizes that the limits are stated for.

    python benchmarks/bench_scaling.py                 # the curve, then the memory rows
    python benchmarks/bench_scaling.py --only memory

Every point of the curve is the median of several frames, forward and backward, in one process; where matplotlib is
there, benchmarks/results/scaling.png shows it. Every memory row is a
process of its own, whose peak is the operating system's figure (`ru_maxrss`, what `/usr/bin/time -v` prints).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

# Gaussians at 640x360, megapixels at 100 000 Gaussians, and both large. Sizes on the screen follow, so that pairs per
# pixel stay near 70.
COUNTS = [(count, 640, 360) for count in (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)]
SIZES = [(100_000, 320, 180), (100_000, 1280, 720), (100_000, 1920, 1080), (100_000, 3840, 2160)]
LARGE = [(3_000_000, 1920, 1080)]

MEMORY = {
    "train 1M at 1920x1080": ("train", 1_000_000, 1920, 1080, 3.0),
    "render 5M at 1920x1080": ("render", 5_000_000, 1920, 1080, None),
    "train on 500 pictures of 3840x2160": ("pictures", 20_000, 3840, 2160, 4.0),
}


def curve(frames: int) -> list[dict[str, Any]]:
    """Forward + backward over counts and sizes."""
    from bench_raster import Native
    from workloads import training_workload

    rows = []
    for count, width, height in [*COUNTS, *SIZES, *LARGE]:
        kernel = Native(*training_workload(count, width, height))
        kernel.run()
        times = [kernel.run() for _ in range(frames)]
        pairs = kernel.raster.contributions()
        both = statistics.median(t[1] for t in times)
        rows.append(
            {
                "gaussians": count,
                "size": f"{width}x{height}",
                "megapixels": round(width * height / 1e6, 2),
                "pairs_millions": round(pairs / 1e6, 1),
                "forward_ms": round(1e3 * statistics.median(t[0] for t in times), 1),
                "forward_backward_ms": round(1e3 * both, 1),
                "ns_per_pair": round(1e9 * both / pairs, 2),
                "frame_megabytes": round(kernel.raster.statistics()["bytes"] / 1e6, 1),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def linear_shares(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The times as a sum of one share per pair and one per Gaussian, by least squares of the relative errors.

    Returns milliseconds [2] a million pairs and a million Gaussians, and the relative errors of the rows.
    """
    times = np.array([row["forward_backward_ms"] for row in rows])
    sizes = np.array([(row["pairs_millions"], row["gaussians"] / 1e6) for row in rows])
    relative = sizes / times[:, None]
    share = np.linalg.lstsq(relative, np.ones(len(rows)), rcond=None)[0]
    return share, relative @ share - 1


def write_curve(rows: list[dict[str, Any]]) -> None:
    """Results as JSON, Markdown and, with matplotlib, as a picture."""
    from common import RESULTS, machine, write_results

    share, error = linear_shares(rows)
    note = (
        f"forward + backward = {share[0]:.2f} ms a million pairs + {share[1]:.0f} ms a million Gaussians, "
        f"which misses the rows by {100 * error.min():+.0f} to {100 * error.max():+.0f} %"
    )
    write_results("scaling", rows, note)
    try:
        from scaling_plot import draw_scaling

        about = machine()
        title = f"{about['cpu']}, {about['threads']} threads, {about['isa']}, commit {about['commit']}: {note}"
        draw_scaling(rows, share, "\n".join(textwrap.wrap(title, 120)), RESULTS / "scaling.png")
    except ModuleNotFoundError as error:
        print(f"no picture: {error}; pip install 'scenerep[benchmark]'", file=sys.stderr)


def train_steps(count: int, width: int, height: int, steps: int = 3) -> None:
    from bench_train_step import measure

    from scenerep.cpus import usable_cpus

    measure(width, height, count, steps, usable_cpus())


def render_once(count: int, width: int, height: int) -> None:
    from workloads import training_workload

    from scenerep.render import render

    scene, camera = training_workload(count, width, height)
    picture = render(scene, camera)
    assert np.isfinite(picture.rgb).all() and picture.alpha.max() > 0.5


def train_on_pictures(count: int, width: int, height: int, pictures: int = 500, steps: int = 120) -> None:
    """Some steps at full size on a procedural capture: enough to fill every cache, each step with another picture."""
    from scenerep.data_tools import open_capture
    from scenerep.runs import Run
    from scenerep.splats.config import SplatsConfig
    from scenerep.splats.train import train

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_large(folder / "capture", pictures, width, height)
        capture = open_capture(folder / "capture", test_every=pictures)
        config = SplatsConfig(steps=steps, max_gaussians=count, coarse=False)
        for _ in train(Run.create(folder / "run", "splats", config, folder / "capture"), capture, config):
            pass


def make_large(out: Path, pictures: int, width: int, height: int) -> None:
    """A small procedural capture whose pictures are enlarged and stored as JPEG."""
    from PIL import Image

    from scenerep.captures import Capture, View, write_capture
    from scenerep.data_tools.synthetic import make_synthetic

    with tempfile.TemporaryDirectory() as temporary:
        small = make_synthetic(Path(temporary) / "small", views=pictures, size=64)
        views = []
        for i, view in enumerate(small.views):
            file = Path(temporary) / f"{i:04d}.jpg"
            Image.fromarray(small.image(i)[..., :3]).resize((width, height)).save(file, quality=85)
            views.append(View(file.name, view.camera.resized(width, height), file, split=view.split))
        write_capture(Capture(Path(temporary), "synthetic", views, small.points), out)


def peak_gigabytes(kind: str, count: int, width: int, height: int) -> float:
    """Of a process of its own."""
    command = [sys.executable, __file__, "--inside", kind, str(count), str(width), str(height)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def inside(kind: str, count: int, width: int, height: int) -> None:
    {"train": train_steps, "render": render_once, "pictures": train_on_pictures}[kind](count, width, height)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)  # Linux counts in kB


def memory() -> list[dict[str, Any]]:
    rows = []
    for name, (kind, count, width, height, limit) in MEMORY.items():
        found = {"what": name, "peak_gigabytes": round(peak_gigabytes(kind, count, width, height), 2), "limit": limit}
        rows.append(found)
        print(json.dumps(found), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["curve", "memory"])
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--inside", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.inside[0], *(int(v) for v in args.inside[1:]))
        return
    from common import markdown, write_results

    if args.only in (None, "curve"):
        rows = curve(args.frames)
        write_curve(rows)
        print(markdown(rows))
    if args.only in (None, "memory"):
        rows = memory()
        write_results("memory", rows)
        print(markdown(rows))


if __name__ == "__main__":
    main()
