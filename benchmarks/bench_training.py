"""Held-out quality reached in a given time, per capture: the table of docs/training.md.

    python benchmarks/bench_training.py --data ../shared/data --captures fox,chair_blender --minutes 1,2,5

Every row is a training of its own, run through the command line; the time is that of the training loop (loading and
finding initial points come before). Run it on an idle machine: the quality reached depends on its speed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from common import machine, markdown, scenerep, write_results

# Longer side of the pictures; options beyond the defaults; whether poses are to be found first.
CAPTURES: dict[str, tuple[int, list[str], bool]] = {
    "fox": (480, [], False),
    "chair_blender": (400, [], False),
    "llff_fern": (512, [], True),
    "fountain_p11": (768, [], False),
    "milk_carton": (570, ["--exposure"], False),
    "temple_sparse_ring": (640, [], False),
    "livingroom_rgbd": (640, [], False),
}


def train_once(data: Path, side: int, minutes: float, options: list[str], folder: Path) -> dict[str, Any]:
    """One training, measured."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    scenerep(
        *("train", "splats", "--data", str(data), "--max-side", str(side), "--minutes", str(minutes)),
        *("--out", str(run), *options),
    )
    found = json.loads(scenerep("eval", str(run), "--json"))
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = steps[-1]["step"]
    return {
        "minutes": minutes,
        "psnr": round(found["psnr"], 2),
        "ssim": round(found["ssim"], 4),
        "gaussians": found["count"],
        "steps": last,
        "steps_per_second": round(last / steps[-1]["seconds"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--captures", default="fox,chair_blender,llff_fern")
    parser.add_argument("--minutes", default="1,2,5,10")
    parser.add_argument("--max-side", type=int, help="instead of the size that the targets are stated for")
    parser.add_argument(
        "--option", action="append", default=[], help="passed on to `scenerep train`, e.g. --option=--pose"
    )
    parser.add_argument("--name", default="training", help="of the result files")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print(json.dumps(machine()))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in args.captures.split(","):
            side, options, photos = CAPTURES[name]
            data = args.data / name
            if photos:
                scenerep("data", "photos", str(data / "images"), str(folder / name))
                data = folder / name
            for minutes in (float(m) for m in args.minutes.split(",")):
                row = train_once(data, args.max_side or side, minutes, [*options, *args.option], folder)
                rows.append({"capture": name, "side": args.max_side or side, **row})
                print(json.dumps(rows[-1]), flush=True)
                write_results(args.name, rows)
    print(markdown(rows))


if __name__ == "__main__":
    main()
