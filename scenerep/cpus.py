"""How many CPUs this process may use: the affinity mask, and a container's CPU quota (cgroups, versions 1 and 2)."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")


def affinity_cpus() -> int:
    """CPUs in the affinity mask of this process; what torch and OpenMP count, too."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity mask, cut by the CPU quota rounded up; at least 1."""
    quota = cgroup_quota()
    return max(1, affinity_cpus() if quota is None else min(affinity_cpus(), math.ceil(quota)))


@functools.cache  # the kernels ask before every frame
def cgroup_quota(root: Path = Path("/")) -> float | None:
    """CPUs' worth of time that the process's control group grants, or None if it sets no limit.

    The smallest of the limits from the process's own group up to the topmost that is visible. Inside a container whose
    path in /proc/self/cgroup is that of the host, only the mounted root is there, and that is then the container's.

    Args:
        root: Of the file system, for tests.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    limits = [limit for line in lines or ["0::/"] for limit in _limits(root, line)]
    return min(limits, default=None)


def _limits(root: Path, line: str) -> Iterator[float]:
    """The limits along one hierarchy; a line is `id:controllers:path`, for version 2 `0::path`."""
    _, _, rest = line.partition(":")
    controllers, _, path = rest.partition(":")
    mounts = root / _CGROUPS.relative_to("/")
    if controllers == "":
        bases, read = [mounts, mounts / "unified"], _limit_v2
    elif "cpu" in controllers.split(","):
        bases, read = [mounts / "cpu", mounts / controllers], _limit_v1
    else:
        return
    group = PurePosixPath("/", path)
    # A path out of the namespace (/../other) names nothing that we could look at.
    groups = [PurePosixPath("/")] if ".." in group.parts else [group, *group.parents]
    for base in bases:
        for place in groups:
            limit = read(base / place.relative_to("/"))
            if limit is not None:
                yield limit


def _limit_v2(group: Path) -> float | None:
    """cpu.max: `max 100000` or `QUOTA PERIOD` in microseconds."""
    return _ratio(_words(group / "cpu.max"))


def _limit_v1(group: Path) -> float | None:
    return _ratio(_words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us"))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _ratio(words: list[str]) -> float | None:
    """None where there is no limit (`max`, -1), and for what cannot be read."""
    try:
        quota, period = (int(word) for word in words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None
