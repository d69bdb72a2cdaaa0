"""Every scene format on one scene: bytes, seconds to write and to read, render PSNR; and reading a million Gaussians.

    python benchmarks/bench_formats.py [SCENE] [--large N]

SCENE: any scene file or SOG folder; default: a synthetic one of 31,000 Gaussians. Times are medians of three.
Results: benchmarks/results/formats.json and .md.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import write_results

from scenerep.evaluation.compare import render_difference
from scenerep.formats import FORMATS
from scenerep.geometry.layout import surrounding_cameras
from scenerep.io import read_scene
from scenerep.io.spz import SpzOptions
from scenerep.io.spz import write as write_spz
from scenerep.scenes import Gaussians

# A fresh process reads a file and tells seconds, the bytes of the arrays, and how far its peak memory rose.
_READ = """
import sys, time
from pathlib import Path
from scenerep.formats import FORMATS
from scenerep.io import read_scene
FORMATS[sys.argv[2]].load_reader()  # imports are not counted
# Not getrusage: its peak is inherited from the process that started this one, which holds a whole scene.
def peak_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak_kib()
start = time.perf_counter()
scene = read_scene(sys.argv[1])  # with the file's own way from the disk's cache, and detection
seconds = time.perf_counter() - start
arrays = sum(array.nbytes for array in scene.arrays().values())
peak = 1024 * (peak_kib() - before)
print(seconds, arrays, peak)
"""


def synthetic(n: int, degree: int) -> Gaussians:
    """Clustered positions, sizes and colours with the spread of trained scenes."""
    r = np.random.default_rng(0)
    k = (degree + 1) ** 2
    sh = 0.08 * r.standard_normal((n, k, 3))
    sh[:, 0] = r.normal(0, 0.8, (n, 3))
    centres = r.normal(size=(max(1, n // 200), 3))
    means = centres[r.integers(0, len(centres), n)] + 0.05 * r.standard_normal((n, 3))
    return Gaussians(means, r.normal(-4.5, 0.8, (n, 3)), r.normal(size=(n, 4)), r.normal(0, 2, n), sh)


def median_seconds(action: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    spent, result = [], None
    for _ in range(times):
        start = time.perf_counter()
        result = action()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent), result


def writers() -> dict[str, tuple[str, Callable[[Gaussians], bytes]]]:
    """Label to (format, writer)."""
    found = {name: (name, entry.load_writer().write) for name, entry in FORMATS.items() if entry.writer}
    found["spz 4"] = found.pop("spz")
    found["spz 3"] = ("spz", lambda scene: write_spz(scene, SpzOptions(version=3)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scene", nargs="?", type=Path)
    parser.add_argument("--large", type=int, default=1_000_000, help="Gaussians of the reading test; 0 leaves it out")
    options = parser.parse_args()
    scene = synthetic(31_000, 2) if options.scene is None else read_scene(options.scene)
    cameras = [camera.resized(480, 270) for camera in surrounding_cameras(scene.means)[::4]]
    rows: list[dict[str, Any]] = []
    for label, (name, write) in writers().items():
        write_seconds, data = median_seconds(lambda write=write: write(scene))
        read_seconds, got = median_seconds(lambda name=name, data=data: FORMATS[name].load_reader().read(data))
        measured = render_difference(scene, got, cameras)
        rows.append({
            "format": label, "Gaussians": len(scene), "SH degree": scene.sh_degree,
            "bytes/Gaussian": len(data) / len(scene),
            "write s": write_seconds, "read s": read_seconds, "PSNR dB": measured["psnr"],
            "PSNR in object dB": measured["psnr_in_mask"], "memory / arrays": None,
        })  # fmt: skip
        print(rows[-1], file=sys.stderr)
    if options.large:
        rows += reading(synthetic(options.large, 3))
    name = "a synthetic scene" if options.scene is None else options.scene.name
    note = f"First {name} in every format; then {options.large:,} Gaussians of SH degree 3, read in a fresh process."
    write_results("formats", rows, note)


def reading(scene: Gaussians) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        known = writers()
        for label in ("ply", "spz 3", "spz 4", "compressed.ply", "splat", "glb", "srz"):
            name, write = known[label]
            file = Path(folder) / f"x.{name}"
            start = time.perf_counter()
            data = write(scene)
            write_seconds = time.perf_counter() - start
            file.write_bytes(data)
            del data
            runs = []
            for _ in range(3):
                command = [sys.executable, "-c", _READ, str(file), name]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs.append([float(word) for word in done.stdout.split()])
            seconds = statistics.median(run[0] for run in runs)
            ratio = statistics.median(run[2] / run[1] for run in runs)
            if ratio < 1:  # the arrays themselves are in memory
                raise SystemExit(f"{label}: a peak of {ratio:.2f} times the arrays cannot be")
            rows.append({
                "format": label, "Gaussians": len(scene), "SH degree": 0 if name == "splat" else 3,
                "bytes/Gaussian": file.stat().st_size / len(scene), "write s": write_seconds, "read s": seconds,
                "PSNR dB": None, "PSNR in object dB": None, "memory / arrays": ratio,
            })  # fmt: skip
            print(rows[-1], file=sys.stderr)
            file.unlink()
    return rows


if __name__ == "__main__":
    main()
