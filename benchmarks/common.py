"""What the benchmarks share: the machine's description, running the command line, results as JSON and Markdown."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    from scenerep import native
    from scenerep.cpus import usable_cpus

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cpus": usable_cpus(),
        "threads": native.thread_count(),
        "isa": native.isa(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def scenerep(*arguments: str, expect: int = 0) -> str:
    """Runs the command line in a process of its own and returns its stdout; progress goes to this process's stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "scenerep.cli.main", *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != expect:
        raise SystemExit(f"scenerep {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table of rows with the same keys."""
    if not rows:
        return ""
    keys = list(rows[0])
    lines = ["| " + " | ".join(keys) + " |", "|" + " --- |" * len(keys)]
    lines += ["| " + " | ".join(_cell(row.get(k)) for k in keys) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_results(name: str, rows: list[dict[str, Any]], note: str = "") -> None:
    """benchmarks/results/NAME.json and NAME.md."""
    RESULTS.mkdir(exist_ok=True)
    about = machine()
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": about, "note": note, "rows": rows}, indent=1) + "\n")
    head = f"{about['cpu']}, {about['threads']} threads, {about['isa']}, commit {about['commit']}"
    (RESULTS / f"{name}.md").write_text(f"{head}\n\n{note}\n\n{markdown(rows)}\n")
