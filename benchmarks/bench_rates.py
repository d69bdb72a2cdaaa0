"""Rate-distortion curves of the compressors on the same trained runs, and BD-rates of `rdo` against the others.

    python benchmarks/bench_rates.py --runs runs/fox,runs/chair --max-side 270 --steps 300 --plot docs/images

Each point is one run of the command line: bytes of the file, PSNR of what it decodes to on the held-out photographs.
The BD-rate (Bjontegaard 2001, VCEG-M33) is the mean difference of the logarithms of the bytes over the PSNR that both
curves reach, by cubic fits: -40 % means 40 % fewer bytes at the same PSNR.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, markdown, scenerep, write_results

KNOBS: dict[str, tuple[str, list[str]]] = {
    "rdo": ("--target-size", ["120kB", "200kB", "330kB", "550kB"]),
    "light-gaussian": ("--prune", ["0.93", "0.85", "0.7", "0.5"]),
    "compgs": ("--lambda", ["12", "5", "2", "0.8"]),
    "rdo-gaussian": ("--lambda", ["0.05", "0.015", "0.005", "0.001"]),
}
"""What is turned for each method, from small to large files."""


def bd_rate(rates: list[float], psnr: list[float], base_rates: list[float], base_psnr: list[float]) -> float | None:
    """Percent of bytes that the first curve needs more than the second at equal PSNR; None without an overlap."""
    low, high = max(min(psnr), min(base_psnr)), min(max(psnr), max(base_psnr))
    if not high > low or min(len(rates), len(base_rates)) < 4:
        return None
    areas = []
    for r, p in ((rates, psnr), (base_rates, base_psnr)):
        integral = np.polyint(np.polyfit(p, np.log(r), 3))
        areas.append(np.polyval(integral, high) - np.polyval(integral, low))
    return 100 * float(np.exp((areas[0] - areas[1]) / (high - low)) - 1)


def point(run: Path, method: str, knob: str, value: str, options: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "x.srz")
        found = json.loads(scenerep("compress", method, str(run), "--out", out, knob, value, "--json", *options))
    kept = {"bytes": found["bytes"], "gaussians": found["count"], "psnr": round(found["psnr"], 2)}
    return {"run": run.name, "method": method, "knob": f"{knob} {value}", **kept, "seconds": found["seconds"]}


def bd_table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    table = []
    for run in dict.fromkeys(row["run"] for row in rows):
        curves = {
            method: [(row["bytes"], row["psnr"]) for row in rows if (row["run"], row["method"]) == (run, method)]
            for method in KNOBS
        }
        ours = list(zip(*curves["rdo"]))
        for method, points in curves.items():
            if method == "rdo" or not points or not ours:
                continue
            rates, psnr = zip(*points)
            found = bd_rate(list(ours[0]), list(ours[1]), list(rates), list(psnr))
            table.append({"run": run, "rdo against": method, "BD-rate %": None if found is None else round(found, 1)})
    return table


def plot(rows: list[dict[str, Any]], folder: Path) -> None:
    import imageio.v3 as iio

    from scenerep.evaluation.plot import rate_distortion_plot

    for run in dict.fromkeys(row["run"] for row in rows):
        curves = {
            method: [(row["bytes"], row["psnr"]) for row in rows if (row["run"], row["method"]) == (run, method)]
            for method in KNOBS
        }
        drawn = rate_distortion_plot({name: points for name, points in curves.items() if points}, run)
        iio.imwrite(folder / f"rates_{run}.png", drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", required=True, help="folders of trained runs, with their captures in place")
    parser.add_argument("--methods", default=",".join(KNOBS))
    parser.add_argument("--max-side", default="270", help="longer side of the photographs, in pixels")
    parser.add_argument("--steps", default="300", help="of fine-tuning, for every method")
    parser.add_argument("--plot", type=Path, help="folder for the plots")
    parser.add_argument("--name", default="rates", help="of the result files")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print(json.dumps(machine()))
    options = ["--max-side", args.max_side, "--steps", args.steps]
    for run in (Path(r) for r in args.runs.split(",")):
        for method in args.methods.split(","):
            knob, values = KNOBS[method]
            for value in values:
                rows.append(point(run, method, knob, value, options))
                print(json.dumps(rows[-1]), flush=True)
                write_results(args.name, rows, f"{' '.join(options)}")
    print(markdown(bd_table(rows)))
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
