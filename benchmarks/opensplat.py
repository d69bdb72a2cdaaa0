"""A training step of OpenSplat's CPU path beside ours: same pictures, cameras and points, whole processes.

OpenSplat's program only trains, so its rasteriser cannot be timed alone. Start-up and loading cancel: a step is the
difference between a long and a short training, divided by the difference of their steps. Both start from the same
points with opacity 0.1 and the distance to the neighbours as size, at full resolution, and neither adds Gaussians.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from workloads import training_workload

from scenerep.captures import Points
from scenerep.captures.points import points_to_ply
from scenerep.geometry import sh as harmonics
from scenerep.geometry.cameras import Camera
from scenerep.render import render

_VIEWS = 8


def make_capture(folder: Path, count: int, width: int, height: int) -> None:
    """A nerfstudio capture with `count` points: pictures of the training workload from eight places side by side."""
    scene, camera = training_workload(count, width, height)
    frames = []
    for i, x in enumerate(np.linspace(-0.35, 0.35, _VIEWS)):
        pose = np.eye(4)
        pose[0, 3] = -x
        placed = Camera(camera.fx, camera.fy, camera.cx, camera.cy, width, height, camera_from_world=pose)
        rgb = np.clip(render(scene, placed).rgb, 0, 1)
        Image.fromarray(np.round(255 * rgb).astype(np.uint8)).save(folder / f"{i:02d}.png")
        # nerfstudio's cameras look along -z with y up.
        opengl = np.linalg.inv(pose) @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append({"file_path": f"{i:02d}.png", "transform_matrix": opengl.tolist()})
    lens = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy, "w": width, "h": height}
    transforms = {"camera_model": "OPENCV", **lens, "ply_file_path": "points.ply", "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(transforms))
    rgb = np.round(255 * np.clip(harmonics.rgb_from_dc(scene.sh[:, 0]), 0, 1)).astype(np.uint8)
    (folder / "points.ply").write_bytes(points_to_ply(Points(scene.means, rgb)))


def compare(binary: Path, folder: Path, count: int, width: int, height: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of a step of both, medians over rounds that alternate, and their ratio."""
    capture = folder / f"{width}x{height}"
    capture.mkdir()
    make_capture(capture, count, width, height)

    def ours(steps: int) -> list[str]:
        options = f"--steps {steps} --max-gaussians {count} --init.points {count} --init.opacity 0.1 --init.scale 1.0"
        options += f" --no-coarse --max-side {max(width, height)} --test-every 0 --save-seconds 1e9 --overwrite"
        run = [sys.executable, "-m", "scenerep.cli.main", "train", "splats", "--data", str(capture)]
        return [*run, "--out", str(folder / "run"), *options.split()]

    def theirs(steps: int) -> list[str]:
        # Densification would begin after the warm-up, the degree grows by one a step, no reduced pictures.
        options = f"--cpu -n {steps} -d 1 --num-downscales 0 --sh-degree-interval 1 --warmup-length 1000000"
        return [str(binary), str(capture), "-o", str(folder / "splat.ply"), *options.split()]

    found: dict[str, list[float]] = {"ours": [], "opensplat": []}
    for _ in range(rounds):
        found["ours"].append(_step(ours, 50, 250))
        found["opensplat"].append(_step(theirs, 5, 25))
    milliseconds = {name: 1e3 * statistics.median(seconds) for name, seconds in found.items()}
    return {
        "size": f"{width}x{height}",
        "count": count,
        "ours_ms": round(milliseconds["ours"], 2),
        "opensplat_ms": round(milliseconds["opensplat"], 1),
        "ratio_opensplat": round(milliseconds["opensplat"] / milliseconds["ours"], 1),
    }


def _step(command: Callable[[int], list[str]], few: int, many: int) -> float:
    return (_seconds(command(many)) - _seconds(command(few))) / (many - few)


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}")
    return time.perf_counter() - begin
