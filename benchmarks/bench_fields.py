"""Fields: speed of the engine, quality against a torch trainer, anti-aliasing, compression, networks (docs/fields.md).

python benchmarks/bench_fields.py engine RUN
python benchmarks/bench_fields.py voxels --data ../shared/data --minutes 5
python benchmarks/bench_fields.py mip --data ../shared/data --steps 9000
python benchmarks/bench_fields.py compress RUN...
python benchmarks/bench_fields.py networks --data ../shared/data --minutes 1 --weights 100000
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import markdown, scenerep, write_results


def engine(run_path: Path, rays: int = 4096, patch: int = 2, rounds: int = 60) -> dict[str, Any]:
    """Samples a second and core of training steps on a trained run, forward, backward and Adam, at rates of zero."""
    from scenerep.cpus import usable_cpus
    from scenerep.data_tools import open_capture
    from scenerep.runs import Run
    from scenerep.voxel_training.batches import RaySource
    from scenerep.voxels.grid import Grid, Rates

    run = Run.open(run_path)
    found = run.latest_checkpoint()
    assert found is not None
    grid = Grid.from_state(found.arrays, found.state["grid"])
    grid.update_occupancy()
    capture = open_capture(run.data, max_side=run.max_side, test_every=run.test_every)
    source = RaySource(capture, np.array(found.state["background"], np.float32), np.random.default_rng(0))
    still = Rates(0.0, 0.0)
    seconds, samples = [], []
    for i in range(rounds):
        batch = source.draw(rays, patch)
        start = time.perf_counter()
        result = grid.train_step(
            batch.origins, batch.directions, batch.targets, background=batch.background, rates=still, seed=i
        )
        seconds.append(time.perf_counter() - start)
        samples.append(result.samples / len(batch.origins))
    step = float(np.median(seconds[rounds // 4 :]))
    per_ray = float(np.mean(samples))
    return {
        "run": run_path.name,
        "rays": rays,
        "samples_per_ray": round(per_ray, 1),
        "step_ms": round(1e3 * step, 2),
        "million_samples_per_second_and_core": round(rays * per_ray / step / usable_cpus() / 1e6, 2),
        "load": round(os.getloadavg()[0], 2),
    }


def voxels(data: Path, captures: list[str], minutes: float, folder: Path) -> list[dict[str, Any]]:
    """Held-out quality of our trainer and of plain torch on a grid of the same size, at equal wall-clock time."""
    from torch_voxels import train_torch

    rows = []
    for name in captures:
        out = folder / f"{name}-voxels"
        if not out.exists():
            scenerep("train", "voxels", "--data", str(data / name), "--minutes", str(minutes), "--out", str(out))
        found = json.loads(scenerep("eval", str(out), "--json"))
        torch_psnr, torch_steps = train_torch(out, minutes)
        rows.append(
            {
                "capture": name,
                "minutes": minutes,
                "psnr": found["psnr"],
                "ssim": found["ssim"],
                "voxels": found["count"],
                "steps": found["step"],
                "torch_psnr": torch_psnr,
                "torch_steps": torch_steps,
                "load": round(os.getloadavg()[0], 2),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
        print(json.dumps(engine(out)), flush=True)
    return rows


def mip(data: Path, capture_name: str, steps: int, resolution: int, folder: Path) -> list[dict[str, Any]]:
    """PSNR at full size and reduced 2, 4 and 8 times: the pyramid, one grid, and one grid with filtered levels."""
    from scenerep.data_tools import open_capture
    from scenerep.evaluation import evaluate
    from scenerep.runs import Run
    from scenerep.voxels.mip_grid import MipGrid

    place = str(data / capture_name)
    runs = {}
    for name, levels in (("mip", "4"), ("single", "1")):
        out = folder / f"{capture_name}-{name}"
        options = ["--levels", levels, "--scales", "4", "--steps", str(steps), "--resolution", str(resolution)]
        if not out.exists():
            scenerep("train", "mip-voxels", "--data", place, *options, "--out", str(out))
        runs[name] = Run.open(out)
    run = runs["mip"]
    capture = open_capture(run.data, max_side=run.max_side, test_every=run.test_every)
    grids = {name: MipGrid.from_scene(found.scene()) for name, found in runs.items()}  # type: ignore[arg-type]
    _assert_voxel_fits_pixel(grids["single"].space, capture)
    filtered = prefiltered(grids["single"], 4)
    rows = []
    longest = max(max(c.width, c.height) for c in (capture.camera(i) for i in capture.train))
    for k in range(4):
        reduced = capture.resized(longest >> k)
        row: dict[str, Any] = {"scale": f"1/{1 << k}"}
        for name, grid in (("pyramid", grids["mip"]), ("one grid", grids["single"]), ("filtered grid", filtered)):
            row[name] = round(evaluate(grid, reduced, basic=True).psnr, 2)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def prefiltered(single: Any, levels: int) -> Any:
    """A grid with levels that are means of its finest one: 3^3 mean, then every second vertex."""
    from scipy.ndimage import uniform_filter

    from scenerep.voxels.mip_grid import USED, MipGrid

    space = _halvable(single.space, 1 << (levels - 1))
    nx, ny, nz = single.space.size
    out = MipGrid(space, levels, step=single.step)
    out.optimiser = single.optimiser
    values = single.pyramid.levels[0].values[:, :USED].reshape(nz, ny, nx, USED)
    values = np.pad(values, [(0, wide - n) for wide, n in zip(space.size[::-1], (nz, ny, nx), strict=True)] + [(0, 0)])
    for level in out.pyramid.levels:
        flat = np.ascontiguousarray(values.reshape(-1, USED))
        touched = np.flatnonzero(flat.any(axis=1))
        level.put(touched, flat[touched])
        values = uniform_filter(values, size=(3, 3, 3, 1), mode="nearest")[::2, ::2, ::2]
    out.pyramid.mark_dense()
    return out


def _halvable(space: Any, multiple: int) -> Any:
    """The space with empty voxels added at its far sides, so that its cells can be halved."""
    from scenerep.voxels.space import Space

    size = np.array(space.size)
    wide = -(-(size - 1) // multiple) * multiple + 1
    upper = space.box[0] + (space.box[1] - space.box[0]) * (wide - 1) / (size - 1)
    return Space(tuple(int(n) for n in wide), np.stack([space.box[0], upper]), space.contracted)


def _assert_voxel_fits_pixel(space: Any, capture: Any) -> None:
    """Where a voxel is larger than a pixel's footprint, a comparison of scales says nothing."""
    camera = capture.camera(capture.test[0])
    distance = float(np.linalg.norm(camera.centre - space.centre))
    footprint = distance / camera.fx
    assert space.voxel <= footprint, f"a voxel of {space.voxel:.4g} is larger than a pixel's {footprint:.4g}"
    print(f"voxel {space.voxel:.4g}, a pixel's footprint {footprint:.4g}")


def compression(runs: list[Path], folder: Path) -> list[dict[str, Any]]:
    """Rate and distortion of `compress rdo` on voxel runs."""
    rows = []
    for run in runs:
        for loss in ("0.05dB", "0.1dB", "0.2dB", "0.5dB", "1dB"):
            out = folder / f"{run.name}-{loss}.srz"
            text = scenerep("compress", "rdo", str(run), "--out", str(out), "--target-loss", loss, "--json")
            found = json.loads(text)
            keys = ("bytes", "count", "count_before", "ratio_to_float32", "psnr", "psnr_before", "seconds")
            rows.append({"run": run.name, "allowed": loss, **{key: found[key] for key in keys}})
            print(json.dumps(rows[-1]), flush=True)
    return rows


_SUBJECTS = {
    "kodim05": ("kodak/kodim05.png", "384"),
    "kodim08": ("kodak/kodim08.png", "384"),
    "kodim23": ("kodak/kodim23.png", "384"),
    "armadillo": ("meshes/armadillo.obj", None),
}


def networks(data: Path, minutes: float, weights: int, subjects: list[str], folder: Path) -> list[dict[str, Any]]:
    """Every network on three pictures and a mesh, at equal numbers of weights and equal time; and compressed."""
    rows = []
    for subject in subjects:
        file, side = _SUBJECTS[subject]
        for network in ("siren", "finer", "hash-grid", "sl2a"):
            out = folder / f"{subject}-{network}"
            options = ["--network", network, "--minutes", str(minutes), "--weights", str(weights), "--out", str(out)]
            options += ["--max-side", side] if side else []
            trained = json.loads(scenerep("train", "field", "--data", str(data / file), *options, "--json"))
            small = ["compress", "rdo", str(out), "--out", str(out) + ".srz", "--overwrite", "--json"]
            found = json.loads(scenerep(*small))
            quality = "psnr" if side else "f_score"
            rows.append(
                {
                    "subject": subject,
                    "network": network,
                    "weights": trained["count"],
                    "minutes": minutes,
                    "steps": trained["step"],
                    "measure": quality,
                    "trained": round(trained[quality], 4),
                    "compressed": round(found[quality], 4),
                    "bytes": found["bytes"],
                    "bits_per_weight": round(found["bits_per_weight"], 2),
                    "load": round(os.getloadavg()[0], 2),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("engine")
    one.add_argument("runs", type=Path, nargs="+")
    two = commands.add_parser("voxels")
    two.add_argument("--data", type=Path, required=True)
    two.add_argument("--captures", default="fox,chair_blender")
    two.add_argument("--minutes", type=float, default=5.0)
    three = commands.add_parser("mip")
    three.add_argument("--data", type=Path, required=True)
    three.add_argument("--capture", default="chair_blender")
    three.add_argument("--steps", type=int, default=9000)
    three.add_argument("--resolution", type=int, default=256)
    four = commands.add_parser("compress")
    four.add_argument("runs", type=Path, nargs="+")
    five = commands.add_parser("networks")
    five.add_argument("--data", type=Path, required=True)
    five.add_argument("--minutes", type=float, default=1.0)
    five.add_argument("--weights", type=int, default=100_000)
    five.add_argument("--subjects", default=",".join(_SUBJECTS))
    for command in (two, three, four, five):
        command.add_argument(
            "--keep",
            type=Path,
            help="folder for runs and files; runs in it are used again",
        )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(getattr(args, "keep", None) or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if args.command == "engine":
            rows = [engine(run) for run in args.runs]
        elif args.command == "voxels":
            rows = voxels(args.data, args.captures.split(","), args.minutes, folder)
        elif args.command == "mip":
            rows = mip(args.data, args.capture, args.steps, args.resolution, folder)
        elif args.command == "networks":
            rows = networks(args.data, args.minutes, args.weights, args.subjects.split(","), folder)
        else:
            rows = compression(args.runs, folder)
    write_results(f"fields_{args.command}", rows)
    print(markdown(rows))


if __name__ == "__main__":
    main()
