"""Training steps on a machine that has other work, and inside a container with a CPU quota.

    python benchmarks/bench_busy.py --json

Every row is a process of its own that trains for some seconds: beside none, one or two processes that do nothing but
count, on one thread and on as many as there are CPUs. A scheduler that shares out time by runnable threads gives
`threads` of them beside `busy` others the share min(threads, cpus * threads / (threads + busy)) of CPUs; with the CPU
time that a step takes on the idle machine, that is the rate that was to be had. `of_fair_share` is the rate against
it. `cpu_ms` is CPU time per step: threads that spin instead of waiting make it grow.

As root with control groups of version 1 mounted, rows with a quota follow: on the number of threads that the library
takes by itself, and on twice that.

All rows are measured in several rounds. Of each the rounds count in which everybody else on the machine used the least
CPU time, `others_cpus` (the other processes of this benchmark not included; Linux only), and of those the median.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

QUOTAS = (1.0, 1.5)
_CONTROLLER = Path("/sys/fs/cgroup/cpu")


def steps_for(seconds: float, width: int, height: int, count: int) -> dict[str, Any]:
    """Rate and CPU time of training steps in this process."""
    from bench_train_step import TrainingStep

    from scenerep import native

    training = TrainingStep(width, height, count)
    for step in range(1, 6):
        training.run(step)
    begin, used, step = time.perf_counter(), _cpu_seconds(resource.RUSAGE_SELF), 5
    while time.perf_counter() - begin < seconds:
        step += 1
        training.run(step)
    elapsed = time.perf_counter() - begin
    return {
        "threads": native.native().threads(),
        "iterations_per_second": round((step - 5) / elapsed, 2),
        "cpu_ms": round(1e3 * (_cpu_seconds(resource.RUSAGE_SELF) - used) / (step - 5), 1),
    }


def _cpu_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """That many processes that count as fast as they can."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@contextlib.contextmanager
def control_group(quota: float) -> Iterator[Path]:
    """A group with that many CPUs' worth of time."""
    group = _CONTROLLER / f"scenerep-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text(str(round(1e5 * quota)))
        yield group
    finally:
        group.rmdir()


@dataclass(frozen=True)
class Case:
    """busy: other processes beside it. threads: 0 as the library chooses. quota: CPUs' worth of time, or None."""

    threads: int
    busy: int = 0
    quota: float | None = None


def run(args: argparse.Namespace, case: Case) -> dict[str, Any]:
    """What a process of its own measures."""
    command = [sys.executable, __file__, "--inside", "--seconds", str(args.seconds)]
    command += ["--size", args.size, "--count", str(args.count)]
    environment = {name: value for name, value in os.environ.items() if name != "SCENEREP_THREADS"}
    if case.threads:
        environment["SCENEREP_THREADS"] = str(case.threads)
    group = contextlib.nullcontext() if case.quota is None else control_group(case.quota)
    begin, machine, ours = time.perf_counter(), _machine_seconds(), _cpu_seconds(resource.RUSAGE_CHILDREN)
    with group as folder, busy_processes(case.busy):
        if folder is not None:  # the shell enters the group and becomes the program
            command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(folder / "cgroup.procs"), *command]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found = json.loads(done.stdout)
    if machine is not None:
        others = (_machine_seconds() or 0) - machine - (_cpu_seconds(resource.RUSAGE_CHILDREN) - ours)
        found["others_cpus"] = round(max(0.0, others) / (time.perf_counter() - begin), 2)
    return found


def _machine_seconds() -> float | None:
    """CPU time that all processes used since the machine was started."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system = (int(v) for v in stat.read_text().split(maxsplit=4)[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def least_disturbed(args: argparse.Namespace, cases: list[Case]) -> dict[Case, dict[str, Any]]:
    """Of each case the median by rate of the rounds that others disturbed least."""
    rounds: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases}
    for _ in range(args.rounds):
        for case, found in rounds.items():
            found.append(run(args, case))
            print(json.dumps(asdict(case) | found[-1]), file=sys.stderr, flush=True)
    best = {}
    for case, found in rounds.items():
        least = min(r.get("others_cpus", 0) for r in found)
        quiet = [r for r in found if r.get("others_cpus", 0) <= least + 0.05]
        best[case] = sorted(quiet, key=lambda r: r["iterations_per_second"])[len(quiet) // 2]
    return best


def busy_row(case: Case, found: dict[str, Any], alone: dict[str, Any]) -> dict[str, Any]:
    from scenerep.cpus import usable_cpus

    share = min(case.threads, usable_cpus() * case.threads / (case.threads + case.busy))
    # Alone, steps do not keep all of their threads at work; that much less is to be had of a share, too.
    used = alone["iterations_per_second"] * alone["cpu_ms"] / 1e3
    fair = min(used, share) / (alone["cpu_ms"] / 1e3)
    return {
        "busy": case.busy,
        "fair_share_of_cpus": round(share, 2),
        **found,
        "of_fair_share": round(found["iterations_per_second"] / fair, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of every row")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--size", default="640x360", help="WIDTHxHEIGHT")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--json", action="store_true", help="print JSON only, one row a line, and write no results")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        width, height = (int(v) for v in args.size.split("x"))
        print(json.dumps(steps_for(args.seconds, width, height, args.count)))
        return
    from scenerep.cpus import usable_cpus

    counts = sorted({1, usable_cpus()})
    beside = [Case(threads, busy) for threads in counts for busy in range(3)]
    limited = []
    if os.access(_CONTROLLER, os.W_OK):
        limited = [Case(threads, quota=quota) for quota in QUOTAS for threads in (0, 2 * math.ceil(quota))]
    best = least_disturbed(args, beside + limited)
    tables = {
        "busy": [busy_row(case, best[case], best[Case(case.threads)]) for case in beside],
        "quota": [
            {"quota": case.quota, "chosen_by": "caller" if case.threads else "library", **best[case]}
            for case in limited
        ],
    }
    for name, rows in tables.items():
        if args.json:
            for line in rows:
                print(json.dumps(line))
        elif rows:
            from common import markdown, write_results

            write_results(name, rows)
            print(markdown(rows))


if __name__ == "__main__":
    main()
