"""How long the training loss with its gradient takes, and a step of Adam: our kernels against torch.

    python benchmarks/bench_loss.py                      # table on stdout
    python benchmarks/bench_loss.py --json loss.json     # and the figures

All contenders take turns in one loop, in changing order, so that a busy machine and a cold cache slow them alike; the
ratios are what to look at. Times are medians and tenth percentiles, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import conv2d

from scenerep.metrics import L1SSIM
from scenerep.metrics.reference import C1, C2, l1_ssim_reference, window
from scenerep.native import isa
from scenerep.splats.adam import adam_step

SIZES = [(180, 320), (360, 640), (540, 960)]
GAUSSIANS = 100_000
COLUMNS = {"means": (3,), "opacity_logits": (), "sh": (16, 3)}


def loss_by_conv2d(image: torch.Tensor, target: torch.Tensor, lambda_: float = 0.2) -> torch.Tensor:
    """The loss as splat trainers write it: one 11 x 11 convolution per map."""
    taps = window(image.dtype)
    kernel = torch.outer(taps, taps).expand(3, 1, -1, -1).contiguous()
    x, y = (a.permute(2, 0, 1)[None] for a in (image, target))

    def filtered(picture: torch.Tensor) -> torch.Tensor:
        return conv2d(picture, kernel, padding=5, groups=3)

    mx, my = filtered(x), filtered(y)
    vx, vy, cov = filtered(x * x) - mx**2, filtered(y * y) - my**2, filtered(x * y) - mx * my
    similarity = (2 * mx * my + C1) * (2 * cov + C2) / ((mx**2 + my**2 + C1) * (vx + vy + C2))
    return (1 - lambda_) * (x - y).abs().mean() + lambda_ * (1 - similarity.mean())


def loss_contenders(height: int, width: int) -> dict[str, Callable[[], Any]]:
    """Each call computes the loss and its gradient once."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = np.clip(target / 255 + rng.normal(0, 0.1, target.shape), 0, 1).astype(np.float32)
    kernel, gradient = L1SSIM(0.2), np.empty_like(image)
    statistics = kernel.target_statistics(target)
    half = kernel.target_statistics(target, dtype=np.float16)
    x, y = torch.tensor(image, requires_grad=True), torch.tensor(target / 255, dtype=torch.float32)
    return {
        "kernel, statistics kept": lambda: kernel.loss_and_gradient(image, target, statistics, gradient=gradient),
        "kernel, statistics in float16": lambda: kernel.loss_and_gradient(image, target, half, gradient=gradient),
        "kernel, no statistics": lambda: kernel.loss_and_gradient(image, target, gradient=gradient),
        "torch, separable": lambda: torch.autograd.grad(l1_ssim_reference(x, y)[0], x),
        "torch, conv2d": lambda: torch.autograd.grad(loss_by_conv2d(x, y), x),
    }


def adam_contenders(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Each call is one step on one array."""
    rng = np.random.default_rng(0)
    param, grad = rng.normal(size=(2, GAUSSIANS, *shape)).astype(np.float32)
    half = rng.random(GAUSSIANS) < 0.5
    few = rng.random(GAUSSIANS) < 0.1
    theirs = torch.tensor(param, requires_grad=True)
    theirs.grad = torch.tensor(grad)
    optimiser = torch.optim.Adam([theirs], lr=1e-3, eps=1e-15, fused=True)

    def ours(visible: np.ndarray | None) -> Callable[[], Any]:
        mine, first, second = param.copy(), np.zeros_like(param), np.zeros_like(param)
        return lambda: adam_step(mine, grad, first, second, 1e-3, 1, visible)

    return {
        "kernel, all seen": ours(None),
        "kernel, half seen": ours(half),
        "kernel, a tenth seen": ours(few),
        "torch, fused": optimiser.step,
    }


def measure(contenders: dict[str, Callable[[], Any]], seconds: float) -> dict[str, dict[str, float]]:
    """Milliseconds of each, all taking turns for about `seconds`, at least five rounds, after two for warming up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order = random.Random(0)
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 7 or time.perf_counter() < end:
        for name, call in order.sample(list(contenders.items()), len(contenders)):
            begin = time.perf_counter()
            call()
            if rounds >= 2:
                times[name].append(1e3 * (time.perf_counter() - begin))
        rounds += 1
    return {n: {"median": float(np.median(t)), "p10": float(np.percentile(t, 10))} for n, t in times.items()}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    root = Path(__file__).resolve().parents[1]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True)
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "commit": commit.stdout.strip(),
        "cpu": cpu,
        "isa": isa(),
        "torch": torch.__version__,
        "load": round(load, 1),
    }


def table(title: str, results: dict[str, dict[str, float]]) -> str:
    """A Markdown table; `ratio` is to the first line."""
    first = next(iter(results.values()))["median"]
    rows = [
        f"| {name} | {r['median']:.3f} | {r['p10']:.3f} | {r['median'] / first:.2f} |" for name, r in results.items()
    ]
    return "\n".join([f"### {title}", "", "| | median ms | p10 ms | ratio |", "|---|---|---|---|", *rows, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to measure")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each table")
    parser.add_argument("--only", default="", help="measure only the cases whose title contains this")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    about, figures = machine(), []
    print(", ".join(f"{key} {value}" for key, value in about.items()), "\n")
    for threads in args.threads:
        torch.set_num_threads(threads)  # ours follow
        cases = {f"loss {h} x {w}": loss_contenders(h, w) for h, w in SIZES}
        cases |= {f"Adam {GAUSSIANS} {name}": adam_contenders(shape) for name, shape in COLUMNS.items()}
        for title, contenders in cases.items():
            if args.only not in title:
                continue
            results = measure(contenders, args.seconds)
            figures.append({"case": title, "threads": threads, "milliseconds": results})
            print(table(f"{title}, {threads} thread{'s' if threads > 1 else ''}", results))
    if args.json:
        beside = args.json.with_suffix(args.json.suffix + ".part")
        beside.write_text(json.dumps({"machine": about, "cases": figures}, indent=1))
        beside.replace(args.json)


if __name__ == "__main__":
    main()
