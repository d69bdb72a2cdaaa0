"""How well and how fast are cameras found? Registered pictures, error against known cameras, wall and CPU seconds.

    python benchmarks/bench_sfm.py --data ../shared/data [--captures fox,fountain_p11] [--variants default,side1600]

Prints a Markdown table and writes benchmarks/results/sfm.{json,md}; rows measured before stay unless measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from scenerep.cpus import usable_cpus
from scenerep.data_tools import open_capture
from scenerep.data_tools.photos import PhotoOptions, process_photos
from scenerep.data_tools.sfm import SfmOptions
from scenerep.data_tools.video import VideoOptions, process_video
from scenerep.errors import SceneRepError

# name: (pictures or video, capture with known cameras or None)
CAPTURES = {
    "fox": ("fox/images", "fox"),
    "fountain_p11": ("fountain_p11/images", "fountain_p11"),
    "sceaux_castle": ("sceaux_castle/images", "sceaux_castle"),
    "llff_fern": ("llff_fern/images", None),
    "temple_sparse_ring": ("temple_sparse_ring", "temple_sparse_ring"),
    "lund_street": ("lund_street/images", None),
    "beer_can": ("beer_can/images", None),
    "beer_can_video": ("beer_can/Beer.mp4", None),
    "room_phone": ("room_phone/images", None),
}
VARIANTS = {
    "default": PhotoOptions(),
    "side1600": PhotoOptions(sfm_side=1600),
    "thorough": PhotoOptions(sfm=SfmOptions(features="thorough")),
    "opencv": PhotoOptions(sfm=SfmOptions(lens="opencv")),
    "global": PhotoOptions(sfm=SfmOptions(mapper="global")),
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--captures", default=",".join(CAPTURES))
    parser.add_argument("--variants", default="default")
    args = parser.parse_args()
    target = RESULTS / "sfm.json"
    rows = json.loads(target.read_text())["rows"] if target.is_file() else []
    for name in args.captures.split(","):
        for variant in args.variants.split(","):
            row = measure(args.data, name, variant)
            rows = [r for r in rows if (r["capture"], r["variant"]) != (name, variant)] + [row]
            print(json.dumps(row), file=sys.stderr, flush=True)
            save(rows)
    print(json.dumps({"rows": rows}, indent=1))
    print(table(rows))


def measure(data: Path, name: str, variant: str) -> dict[str, Any]:
    """One row: what came out, its error, its cost."""
    source, known = CAPTURES[name]
    options = VARIANTS[variant]
    row: dict[str, Any] = {"capture": name, "variant": variant}
    start, user = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        try:
            if (data / source).is_file():
                report = process_video(data / source, out, VideoOptions(photos=options))
            else:
                report = process_photos(data / source, out, options)
        except SceneRepError as error:
            row["error"] = error.message
        else:
            keys = ("registered", "total", "points", "reprojection_px", "observations", "matching", "features")
            row |= {key: getattr(report, key) for key in (*keys, "attempts", "seconds")}
        row["wall_seconds"] = round(time.monotonic() - start, 1)
        row["user_seconds"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_utime - user, 1)
        row["load"] = round(os.getloadavg()[0], 1)
        if known and "error" not in row:
            row |= against(open_capture(out), open_capture(data / known))
    return row


def against(found, known) -> dict[str, Any]:
    """Errors after the best similarity: of centres as a share of the known centres' bounding box, of directions."""
    truth = {Path(view.name).stem: view.camera for view in known.views}
    pairs = [(view.camera, truth[Path(view.name).stem]) for view in found.views if Path(view.name).stem in truth]
    a = np.array([camera.centre for camera, _ in pairs])
    b = np.array([camera.centre for _, camera in pairs])
    # Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991
    a0, b0 = a - a.mean(axis=0), b - b.mean(axis=0)
    u, s, vt = np.linalg.svd(b0.T @ a0)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u * sign @ vt
    scale = (s * sign).sum() / (a0**2).sum()
    distance = np.linalg.norm(scale * a0 @ rotation.T - b0, axis=1) / np.linalg.norm(np.ptp(b, axis=0))
    turns = [rotation @ x.world_from_camera[:3, :3] @ y.world_from_camera[:3, :3].T for x, y in pairs]
    angles = [np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) for turn in turns]
    return {
        "compared": len(pairs),
        "centre_rms_percent": round(100 * float(np.sqrt((distance**2).mean())), 4),
        "centre_max_percent": round(100 * float(distance.max()), 4),
        "rotation_median_deg": round(float(np.median(angles)), 4),
    }


def save(rows: list[dict[str, Any]]) -> None:
    """Both result files, with the commit and the machine."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    head = {"commit": git.stdout.strip(), "machine": f"{platform.machine()}, {usable_cpus()} CPUs"}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sfm.json").write_text(json.dumps({**head, "rows": rows}, indent=1) + "\n")
    note = "Other work ran on the machine where the load is above 2: then the CPU seconds count, not the wall's."
    text = f"# Finding cameras\n\nCommit {head['commit']}, {head['machine']}. {note}\n\n{table(rows)}"
    (RESULTS / "sfm.md").write_text(text)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, one line a row."""
    head = "capture | variant | registered | points | reprojection px | centre rms % | max % | rotation deg"
    head += " | matching | attempts | wall s | CPU s | load"
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    for row in sorted(rows, key=lambda r: (list(CAPTURES).index(r["capture"]), list(VARIANTS).index(r["variant"]))):
        cells = [row["capture"], row["variant"]]
        if "error" in row:
            cells += ["refused", *["-"] * 7]
        else:
            cells += [f"{row['registered']} / {row['total']}", row["points"], f"{row['reprojection_px']:.2f}"]
            keys = ("centre_rms_percent", "centre_max_percent", "rotation_median_deg")
            cells += [f"{row[key]:.3f}" if key in row else "-" for key in keys]
            cells += [f"{row['matching']}, {row['features']}", row["attempts"]]
        cells += [row["wall_seconds"], row["user_seconds"], row["load"]]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
