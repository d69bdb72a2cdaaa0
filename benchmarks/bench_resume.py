"""Is a training that is killed again and again the same, bit for bit, as one that is left alone?

    python benchmarks/bench_resume.py --data ../shared/data/fox --max-side 480 --steps 2000 --kills 20

One training runs undisturbed. Another gets SIGKILL at random moments and goes on from its checkpoint each time. Told
are the kills, the training time since the last checkpoint that each of them cost, and whether scene, moments and
statistics are identical in the end.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, markdown, write_results

_POLL_SECONDS = 0.01
_START_SECONDS = 600.0  # finding initial points included; a process that has not trained a step by then is stuck


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints that are there, oldest first."""
    return sorted((run / "checkpoints").glob("step_*.safetensors"))


def _process(arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "scenerep.cli.main", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the training ended with {process.returncode}:\n{said.decode(errors='replace')[-2000:]}")


def _kill_later(process: subprocess.Popen[bytes], run: Path, delay: float) -> bool:
    """Kills the training `delay` seconds after its first new checkpoint; False if it ended before that."""
    before = checkpoints(run)
    began, seen = time.monotonic(), None
    while process.poll() is None:
        now = time.monotonic()
        if seen is None and checkpoints(run) != before:
            seen = now
        if seen is not None and now - seen >= delay:
            process.kill()
            process.communicate()
            return True
        if seen is None and now - began > _START_SECONDS:
            process.kill()
            raise SystemExit(f"no checkpoint after {_START_SECONDS:g} s: lower --save-seconds")
        time.sleep(_POLL_SECONDS)
    return False


def train_with_kills(
    start: list[str], run: Path, kills: int, longest_delay: float, rng: random.Random
) -> list[dict[str, Any]]:
    """Trains to the end, killed at random moments on the way.

    Returns for each kill the step of the checkpoint that it left, and the seconds since that was written.
    """
    arguments, told = start, []
    while len(told) < kills:
        process = _process(arguments)
        if not _kill_later(process, run, rng.uniform(0, longest_delay)):
            _finish(process)
            return told
        saved = checkpoints(run)[-1]
        lost = time.time() - saved.stat().st_mtime
        told.append({"step": int(saved.stem.split("_")[1]), "seconds lost": round(max(0.0, lost), 2)})
        arguments = ["resume", str(run)]
    _finish(_process(arguments))
    return told


def differences(a: Path, b: Path) -> list[str]:
    """Names of the arrays of the last checkpoints of two runs that are not the same to the bit."""
    from scenerep.runs import Run

    one, other = (Run.open(run).latest_checkpoint() for run in (a, b))
    assert one is not None
    assert other is not None
    if one.step != other.step:
        return [f"step {one.step} and {other.step}"]
    names = one.arrays.keys() | other.arrays.keys()
    return sorted(
        name
        for name in names
        if name not in one.arrays
        or name not in other.arrays
        or one.arrays[name].shape != other.arrays[name].shape
        or np.any(one.arrays[name].view(np.uint8) != other.arrays[name].view(np.uint8))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/fox"))
    parser.add_argument("--max-side", type=int, default=480)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--save-seconds", type=float, default=0.5)
    parser.add_argument("--longest-delay", type=float, default=2.0, help="seconds from a checkpoint to the kill")
    parser.add_argument("--max-gaussians", type=int, default=40_000)
    parser.add_argument("--option", action="append", default=[], help="passed on to `scenerep train`")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    args = parser.parse_args()
    common = ["--data", str(args.data), "--max-side", str(args.max_side), "--steps", str(args.steps)]
    common += ["--max-gaussians", str(args.max_gaussians), *args.option]
    with tempfile.TemporaryDirectory() as temporary:
        whole, killed = Path(temporary) / "whole", Path(temporary) / "killed"
        _finish(_process(["train", "splats", *common, "--out", str(whole)]))
        start = ["train", "splats", *common, "--out", str(killed), "--save-seconds", str(args.save_seconds)]
        told = train_with_kills(start, killed, args.kills, args.longest_delay, random.Random(args.seed))
        different = differences(whole, killed)
    row = {
        "capture": args.data.name,
        "steps": args.steps,
        "kills": len(told),
        "last kill after step": told[-1]["step"] if told else None,
        "seconds lost per kill": round(sum(kill["seconds lost"] for kill in told) / max(1, len(told)), 2),
        "identical": "no: " + ", ".join(different) if different else "yes",
    }
    print(json.dumps(machine()))
    for kill in told:
        print(json.dumps(kill))
    print(markdown([row]))
    write_results("resume", [row], f"Kills after the checkpoints of steps {[kill['step'] for kill in told]}.")


if __name__ == "__main__":
    main()
