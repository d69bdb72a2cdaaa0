"""Time of rasterising, forward and forward + backward, against the torch per-tile reference in the same run.

    python benchmarks/bench_raster.py --workload S --threads 2 --json

Rounds alternate between the native kernel and the reference, so that a machine whose speed drifts slows both alike;
the medians and their ratio are reported. `ns_per_pair` is threads x time / contributing (pixel, Gaussian) pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Any

import numpy as np

# Per pair, a fused multiply-add counted as two: offsets 2, exponent 8, power of two 11, and then weight, transmittance
# and three colours; backward also the dot product, suffix, reciprocal and six moments.
FORWARD_FLOPS, BACKWARD_FLOPS = 30, 55
STAGES = ("project", "sort", "bin", "blend", "blend_backward", "gather", "gradient")


class Native:
    """The kernel without torch around it, on buffers that are kept, as the trainer runs it."""

    def __init__(self, scene: Any, camera: Any) -> None:
        from scenerep.native import native

        self.raster, self.camera = native().Rasterizer(), camera
        self.arrays = list(scene.arrays().values())
        self.grads = [np.empty_like(a) for a in self.arrays]
        size = (camera.height, camera.width)
        self.rgb, self.alpha = np.empty((*size, 3), np.float32), np.empty(size, np.float32)
        self.v = np.random.default_rng(0).normal(size=(*size, 3)).astype(np.float32)
        self.pose = np.ascontiguousarray(camera.camera_from_world[:3])
        self.intrinsics = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
        self.degree = scene.sh_degree

    def run(self) -> tuple[float, float]:
        """Seconds of the forward pass and of both."""
        camera, raster = self.camera, self.raster
        begin = time.perf_counter()
        raster.prepare(*self.arrays, self.pose, self.intrinsics, camera.width, camera.height, self.degree, False)
        raster.blend_colour(self.rgb, self.alpha, None, None, [0.0, 0.0, 0.0])
        middle = time.perf_counter()
        raster.backward_colour(self.rgb, self.alpha, None, self.v, None, None, False)
        raster.parameter_gradients(*self.grads, None, None, None, False)
        return middle - begin, time.perf_counter() - begin


class Reference:
    """Plain torch with autograd: `keep` the tiles' intermediates, or compute them again as the specification does."""

    def __init__(self, scene: Any, camera: Any, v: np.ndarray, keep: bool) -> None:
        import torch

        self.camera, self.v, self.keep = camera, torch.from_numpy(v), keep
        self.params = [torch.from_numpy(a).requires_grad_() for a in scene.arrays().values()]

    def run(self) -> tuple[float, float]:
        from torch_baseline import rasterize_kept

        from scenerep.render import rasterize

        for p in self.params:
            p.grad = None
        begin = time.perf_counter()
        if self.keep:
            rgb = rasterize_kept(self.params, self.camera)
        else:
            means, log_scales, quats, logits, sh = self.params
            rgb = rasterize(means, log_scales, quats, logits, sh, self.camera, backend="reference").rgb
        middle = time.perf_counter()
        rgb.backward(self.v)
        return middle - begin, time.perf_counter() - begin


def measure(name: str, threads: int, rounds: int, reference: bool) -> dict[str, Any]:
    """Medians over the rounds."""
    import torch
    from workloads import workload

    from scenerep import native

    torch.set_num_threads(threads)
    scene, camera = workload(name)
    kernel = Native(scene, camera)
    for _ in range(3):
        kernel.run()
    # Of the two ways the faster one is the baseline.
    others = [Reference(scene, camera, kernel.v, keep) for keep in (True, False)] if reference else []
    times: list[tuple[float, float]] = []
    slow: list[list[tuple[float, float]]] = [[] for _ in others]
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for _ in range(rounds):
        for _ in range(5):
            times.append(kernel.run())
            for stage, seconds in kernel.raster.statistics()["seconds"].items():
                stages[stage].append(seconds)
        for found, other in zip(slow, others):
            found.append(other.run())
    pairs = kernel.raster.contributions()
    peak = threads * native.native().fma_peak()
    seconds = {stage: statistics.median(s) for stage, s in stages.items()}
    both = statistics.median(t[1] for t in times)
    result = {
        "workload": name,
        "threads": threads,
        "isa": native.isa(),
        "gaussians": len(scene),
        "size": f"{camera.width}x{camera.height}",
        "pairs_per_pixel": round(pairs / (camera.width * camera.height), 1),
        "forward_ms": round(1e3 * statistics.median(t[0] for t in times), 2),
        "forward_backward_ms": round(1e3 * both, 2),
        "ns_per_pair": round(1e9 * threads * both / pairs, 2),
        "stages_ms": {stage: round(1e3 * s, 2) for stage, s in seconds.items()},
        "frame_megabytes": round(kernel.raster.statistics()["bytes"] / 1e6, 1),
        "peak_gflops": round(peak / 1e9),
        # Of the peak, counting what (pixel, Gaussian) pairs that contribute need and nothing else.
        "blend_peak_share": round(FORWARD_FLOPS * pairs / seconds["blend"] / peak, 3),
        "blend_backward_peak_share": round(BACKWARD_FLOPS * pairs / seconds["blend_backward"] / peak, 3),
        "load": round(os.getloadavg()[0], 2),
    }
    if slow:
        medians = [[1e3 * statistics.median(t[i] for t in found) for i in (0, 1)] for found in slow]
        forward, forward_backward = min(medians, key=lambda m: m[1])
        result["reference_forward_ms"] = round(forward, 1)
        result["reference_forward_backward_ms"] = round(forward_backward, 1)
        result["reference_keeping_ms"], result["reference_recomputing_ms"] = (round(m[1], 1) for m in medians)
        result["ratio_forward"] = round(result["reference_forward_ms"] / result["forward_ms"], 1)
        result["ratio_forward_backward"] = round(
            result["reference_forward_backward_ms"] / result["forward_backward_ms"], 1
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=("S", "M", "L"), action="append")
    parser.add_argument("--threads", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-reference", action="store_true", help="leave out the torch reference")
    parser.add_argument("--json", action="store_true", help="print JSON only: one object, or one a line")
    args = parser.parse_args()
    rows = []
    for name in args.workload or ["S", "M"]:
        for threads in args.threads or [1, 2]:
            rows.append(measure(name, threads, args.rounds, not args.no_reference))
            if args.json:
                print(json.dumps(rows[-1]), flush=True)
    if not args.json:
        from common import markdown, write_results

        stages = [{"workload": r["workload"], "threads": r["threads"], **r["stages_ms"]} for r in rows]
        write_results("raster", rows)
        print(markdown([{k: v for k, v in r.items() if k != "stages_ms"} for r in rows]))
        print(markdown(stages))


if __name__ == "__main__":
    main()
