"""The whole way on a clock: a folder of photographs to an exported, measured scene, structure from motion included.

python benchmarks/bench_end_to_end.py --photos ../shared/data/fox/images --minutes 2
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from common import machine, markdown, scenerep, write_results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/fox/images"))
    parser.add_argument("--minutes", default="2", help="of training")
    parser.add_argument("--max-side", default="480", help="of the training pictures")
    args = parser.parse_args()
    print(json.dumps(machine()))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        capture, run, ply = str(folder / "capture"), str(folder / "run"), str(folder / "scene.ply")
        steps = {
            "data photos": ["data", "photos", str(args.photos), capture],
            "train": [
                *("train", "splats", "--data", capture, "--minutes", args.minutes, "--out", run),
                *("--max-side", args.max_side),
            ],
            "eval": ["eval", run, "--json"],
            "export": ["export", run, ply],
        }
        rows, output, begin = [], {}, time.monotonic()
        for name, command in steps.items():
            before = time.monotonic()
            output[name] = scenerep(*command)
            rows.append({"step": name, "seconds": round(time.monotonic() - before, 1)})
            print(json.dumps(rows[-1]), flush=True)
        rows.append({"step": "whole", "seconds": round(time.monotonic() - begin, 1)})
        found = json.loads(output["eval"])
        note = (
            f"{len(list(args.photos.iterdir()))} photographs; held-out PSNR {found['psnr']:.2f} dB, "
            f"SSIM {found['ssim']:.3f}, {found['count']} Gaussians, {Path(ply).stat().st_size / 1e6:.1f} MB PLY"
        )
        write_results("end_to_end", rows, note)
        print(note)
        print(markdown(rows))


if __name__ == "__main__":
    main()
