"""Image codecs on a folder of pictures (Kodak's 24): bytes of files, PSNR, MS-SSIM, seconds, BD-rates.

    python benchmarks/bench_image.py PICTURES --codecs dct:fast,dct:medium,webp --published CURVES.csv

Writes benchmarks/results/image.csv (a row for each picture and point), image.json and image.md (curves of the means,
BD-rates). A codec that is not named keeps its rows of an earlier run in image.csv, so that one can be measured anew.
CURVES.csv: `codec,bpp,psnr` in the first three columns, means over the same pictures that somebody published.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from common import RESULTS, markdown, write_results

from scenerep.cli.image.compare import read_pictures
from scenerep.codecs.bd_rate import bd_rate
from scenerep.codecs.comparison import differences, means, measure

_SECONDS = ("encode_seconds", "decode_seconds", "encode_cpu_seconds", "decode_cpu_seconds")
_NUMBERS = ("point", "bytes", "bpp", "psnr", "ms_ssim", *_SECONDS)


def measured(label: str, pictures: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    name, _, preset = label.partition(":")
    options: dict[str, Any] = {"preset": preset} if preset else {}
    return [{**row, "codec": label} for row in measure(name, pictures, **options)]


def earlier(path: Path, but: set[str]) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["codec"] not in but]
    return [{**row, **{key: float(row[key]) if row[key] else None for key in _NUMBERS}} for row in rows]


def published(path: Path | None) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = {}
    if path is not None:
        with path.open(newline="") as file:
            for name, bpp, quality, *_ in list(csv.reader(file))[1:]:
                curves.setdefault(name, []).append((float(bpp), float(quality)))
    return curves


def gain_row(codec: str, anchor: str, gain: float, low: float, high: float) -> dict[str, Any]:
    return {"codec": codec, "against": anchor, "BD-rate %": round(100 * gain, 1), "dB": f"{low:.1f} to {high:.1f}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--codecs", default="dct:fast,dct:medium,jpeg,webp,avif", help="names, or NAME:PRESET")
    parser.add_argument("--published", type=Path, help="curves that somebody published")
    parser.add_argument("--limit", type=int, help="only the first so many pictures; nothing is written")
    arguments = parser.parse_args()

    labels = [label for label in arguments.codecs.split(",") if label]
    pictures = read_pictures([arguments.pictures])[: arguments.limit]
    table = RESULTS / "image.csv"
    rows = [] if arguments.limit else earlier(table, set(labels))
    for label in labels:
        rows += measured(label, pictures)
        print(f"measured {label}", flush=True)
    curves = means(rows)
    gains = [
        gain_row(g["codec"], g["anchor"], g["bd_rate"], g["from"], g["to"])
        for g in differences(curves)
        if ":" in g["codec"]
    ]
    for label in (label for label in curves if ":" in label):
        own = [(p["bpp"], p["psnr"]) for p in curves[label]]
        for name, curve in published(arguments.published).items():
            found = bd_rate(own, curve)
            if found:
                gains.append(gain_row(label, f"{name}, published", *found))
    points = [
        {
            "codec": p["codec"],
            "point": p["point"],
            "bpp": round(p["bpp"], 4),
            "PSNR": round(p["psnr"], 3),
            "MS-SSIM": None if p["ms_ssim"] is None else round(p["ms_ssim"], 5),
            "encode CPU s": round(p["encode_cpu_seconds"], 3),
            "decode CPU s": round(p["decode_cpu_seconds"], 3),
        }
        for curve in curves.values()
        for p in curve
    ]
    print(markdown(gains))
    print(markdown(points))
    if arguments.limit:
        return
    RESULTS.mkdir(exist_ok=True)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["codec", "point", "picture", *_NUMBERS[1:]], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    write_results("image", gains, f"{len(pictures)} pictures; BD-rate by PCHIP on the curves of the means")
    with (RESULTS / "image.md").open("a") as file:
        file.write(f"\n{markdown(points)}\n")


if __name__ == "__main__":
    main()
