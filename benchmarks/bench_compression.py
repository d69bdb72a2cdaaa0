"""Bytes and held-out quality of compressed runs: the table of docs/compression.md.

    python benchmarks/bench_compression.py --runs runs/fox/splats/latest,runs/chair/splats/latest --sizes 250kB,500kB
    python benchmarks/bench_compression.py --runs RUN --sizes 550kB --ablations

Each row is one run of the command line: the size is that of the file, the PSNR that of what it decodes to. The result
of a budget of minutes depends on the machine's speed; `--steps` makes rows comparable. The held-out pictures are not
looked at while compressing to a size.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from common import machine, markdown, scenerep, write_results

ABLATIONS: dict[str, list[str]] = {
    "all": [],
    "no pruning": ["--no-prune"],
    "no slope of the bits": ["--no-shrink"],
    "no quantised training": ["--no-quantised-training"],
    "no RDOQ": ["--no-rdoq"],
    "fixed proportions of steps": ["--no-search"],
    "no canonical form": ["--canonical", "no"],
    "no fine-tuning": ["--no-fine-tune"],
    "one layer": ["--layers", "1"],
}


def compress_once(run: Path, method: str, size: str, budget: list[str], options: list[str]) -> dict[str, Any]:
    """One file, measured."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "x.srz"
        found = json.loads(
            scenerep(
                *("compress", method, str(run), "--out", str(out), "--target-size", size, "--json"), *budget, *options
            )
        )
    count = found["count"]
    row = {
        "run": run.name,
        "method": method,
        "bytes": found["bytes"],
        "gaussians": count,
        "psnr": round(found["psnr"], 2),
        "loss": round(found["psnr_before"] - found["psnr"], 2),
        "ratio": round(found["ratio_to_ply"], 1),
        "seconds": found["seconds"],
    }
    return row | {f"{name} B/G": round(size / count, 2) for name, size in found["streams"].items() if name != "head"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", required=True, help="folders of trained runs, with their captures in place")
    parser.add_argument("--methods", default="rdo")
    parser.add_argument("--sizes", default="250kB,500kB")
    parser.add_argument("--minutes", default="3")
    parser.add_argument("--steps", help="instead of minutes")
    parser.add_argument("--ablations", action="store_true", help="switch the parts of rdo off, one at a time")
    parser.add_argument("--name", default="compression", help="of the result files")
    args = parser.parse_args()
    budget = ["--steps", args.steps] if args.steps else ["--minutes", args.minutes]
    rows: list[dict[str, Any]] = []
    print(json.dumps(machine()))
    for run in (Path(r) for r in args.runs.split(",")):
        for method in args.methods.split(","):
            for size in args.sizes.split(","):
                for name, options in ABLATIONS.items() if args.ablations else [("all", [])]:
                    rows.append({"parts": name, **compress_once(run, method, size, budget, options)})
                    print(json.dumps(rows[-1]), flush=True)
                    write_results(args.name, rows, f"budget: {' '.join(budget)}")
    print(markdown(rows))


if __name__ == "__main__":
    main()
