"""Iterations per second of the splat trainer's CPU step, and what each part takes.

python benchmarks/bench_train_step.py --size 640x360 --count 50000 --json

What the timed steps allocate is counted, too: the kernels' buffers, page faults (fresh memory costs one per page), and,
in twenty steps more, the most that Python and NumPy held at once.

With --opensplat PATH, whole trainings of OpenSplat's program on the CPU are timed beside ours (see opensplat.py).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


class TrainingStep:
    """A scene, a picture and the trainer's engine; `run` takes one step."""

    def __init__(self, width: int, height: int, count: int) -> None:
        from workloads import training_workload

        from scenerep.splats.config import SplatsConfig
        from scenerep.splats.engine import NativeEngine
        from scenerep.splats.model import Model
        from scenerep.splats.targets import Target

        scene, self.camera = training_workload(count, width, height)
        self.config = SplatsConfig(steps=1000)
        self.engine = NativeEngine(Model(scene, count), self.config, 0)
        truth = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
        self.target = Target(self.camera, truth, None, None)

    def run(self, step: int) -> None:
        """Number `step`, 1 at the first."""
        from scenerep.splats.engine import StepInput
        from scenerep.splats.schedule import rates_at

        given = StepInput(
            step=step,
            target=self.target,
            camera=self.camera,
            background=np.zeros(3, np.float32),
            sh_degree=3,
            # The rates of the very end: the scene, and with it the work, stays what it is.
            rates=rates_at(self.config, 1.0, 1e-3),
            opacity_weight=0.01,
            scale_weight=0.01,
            depth_weight=0.0,
            noise=1.0,
            statistics=True,
        )
        self.engine.step(given)


def measure(width: int, height: int, count: int, iterations: int, threads: int) -> dict[str, Any]:
    import torch

    from scenerep import native

    torch.set_num_threads(threads)
    training = TrainingStep(width, height, count)
    times: list[float] = []
    parts: dict[str, list[float]] = {}
    counted = _counts()

    for step in range(1, iterations + 11):
        if step == 11:
            counted = _counts()
        begin = time.perf_counter()
        training.run(step)
        if step > 10:
            times.append(time.perf_counter() - begin)
            for name, seconds in training.engine.seconds.items():
                parts.setdefault(name, []).append(seconds)
    allocated = {name: now - counted[name] for name, now in _counts().items()}
    median = statistics.median(times)
    return {
        "size": f"{width}x{height}",
        "count": count,
        "threads": threads,
        "isa": native.isa(),
        "iterations_per_second": round(1 / median, 1),
        "milliseconds": round(1e3 * median, 2),
        "parts_ms": {name: round(1e3 * statistics.median(p), 2) for name, p in parts.items()},
        "buffers_allocated": allocated["buffers"],
        "page_faults_per_iteration": round(allocated["faults"] / iterations, 2),
        "python_peak_kilobytes": round(_python_peak(training.run, iterations + 11, 20) / 1000, 1),
        "load": round(os.getloadavg()[0], 2),
    }


def _counts() -> dict[str, int]:
    """Of this process so far: buffers that the kernels allocated, and pages that the system had to supply."""
    from scenerep import native

    return {
        "buffers": native.native().allocations()[0],
        "faults": resource.getrusage(resource.RUSAGE_SELF).ru_minflt,
    }


def _python_peak(run: Callable[[int], None], first: int, steps: int) -> int:
    """Bytes that Python and NumPy held at once beyond what they held before, the most in any of the steps."""
    tracemalloc.start()
    most = 0
    for step in range(first, first + steps):
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        run(step)
        most = max(most, tracemalloc.get_traced_memory()[1] - held)
    tracemalloc.stop()
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", help="WIDTHxHEIGHT, 640x360 and 320x180 by default")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as this process may use")
    parser.add_argument("--opensplat", type=Path, metavar="PATH", help="OpenSplat's binary, to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison with OpenSplat")
    parser.add_argument("--json", action="store_true", help="print JSON only: one object, or one a line")
    args = parser.parse_args()
    from scenerep.cpus import usable_cpus

    rows = []
    for size in args.size or ["640x360", "320x180"]:
        width, height = (int(v) for v in size.split("x"))
        rows.append(measure(width, height, args.count, args.iterations, args.threads or usable_cpus()))
        if args.opensplat is not None:
            from opensplat import compare

            with tempfile.TemporaryDirectory() as folder:
                peer = compare(args.opensplat.resolve(), Path(folder), args.count, width, height, args.rounds)
            rows[-1] |= {name: value for name, value in peer.items() if name not in rows[-1]}
        if args.json:
            print(json.dumps(rows[-1]), flush=True)
    if not args.json:
        from common import markdown, write_results

        write_results("train_step", rows)
        print(markdown([{**{k: v for k, v in r.items() if k != "parts_ms"}, **r["parts_ms"]} for r in rows]))


if __name__ == "__main__":
    main()
