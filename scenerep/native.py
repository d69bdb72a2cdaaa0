"""The native module: finds the build for this CPU and keeps its thread pool at the size that the user asked for.

`SCENEREP_ISA` forces a build: `x86-64`, `x86-64-v3`, `x86-64-v4` or `generic`. `SCENEREP_THREADS` forces the number of
threads; otherwise `torch.set_num_threads` rules where torch is loaded, else the CPUs that this process may use.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import sys
from pathlib import Path
from types import ModuleType

from scenerep.errors import ConfigError, DeviceError

_MODULES = {
    "x86-64": "_native_x86_64",
    "x86-64-v3": "_native_x86_64_v3",
    "x86-64-v4": "_native_x86_64_v4",
    "generic": "_native_generic",
}
_LEVELS = {1: ("x86-64",), 3: ("x86-64-v3", "x86-64"), 4: ("x86-64-v4", "x86-64-v3", "x86-64")}


def _import(isa: str) -> ModuleType | None:
    name = f"scenerep.{_MODULES[isa]}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


@functools.cache
def available_isas() -> tuple[str, ...]:
    """The builds that are installed and run on this CPU, best first.

    Raises:
        DeviceError: None is installed.
    """
    base = _import("x86-64") or _import("generic")
    if base is None:
        raise DeviceError(
            "scenerep's native module is not built",
            "install a C++17 compiler (g++ or clang++), then run: pip install -e .",
        )
    runs = _LEVELS.get(base.cpu_level(), ("generic",))
    return tuple(isa for isa in runs if _import(isa) is not None)


@functools.cache
def _load() -> tuple[str, ModuleType]:
    available = available_isas()
    forced = os.environ.get("SCENEREP_ISA")
    if forced is not None:
        if forced not in _MODULES:
            raise ConfigError(f"SCENEREP_ISA={forced} is not known", f"use one of: {', '.join(_MODULES)}")
        if forced not in available:
            raise ConfigError(
                f"SCENEREP_ISA={forced} does not run on this CPU, or was not built",
                f"use one of: {', '.join(available)}",
            )
    chosen = forced or available[0]
    module = _import(chosen)
    assert module is not None
    return chosen, module


def isa() -> str:
    """Name of the instruction set in use."""
    return _load()[0]


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity mask, cut by a container's CPU quota (cgroup v1 and v2)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


def _cgroup_quota() -> float | None:
    def read(path: str) -> list[str] | None:
        try:
            return Path(path).read_text().split()
        except OSError:
            return None

    v2 = read("/sys/fs/cgroup/cpu.max")
    if v2 and v2[0] != "max":
        return int(v2[0]) / int(v2[1])
    quota, period = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if quota and period and int(quota[0]) > 0:
        return int(quota[0]) / int(period[0])
    return None


def thread_count() -> int:
    """Threads that the kernels should use now."""
    forced = os.environ.get("SCENEREP_THREADS")
    if forced:
        if not forced.isdigit() or int(forced) < 1:
            raise ConfigError(f"SCENEREP_THREADS={forced} is not a positive number")
        return int(forced)
    torch = sys.modules.get("torch")
    # torch counts the machine's cores, not a container's quota, so its number is cut by ours.
    return usable_cpus() if torch is None else max(1, int(torch.get_num_threads()))


def native() -> ModuleType:
    """The module, with its pool set to `thread_count()`."""
    module = _load()[1]
    count = thread_count()
    if module.threads() != count:
        module.set_threads(count)
    return module
