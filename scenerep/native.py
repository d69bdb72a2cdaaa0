"""The native module: finds the build for this CPU and keeps its thread pool at the size that the user asked for.

`SCENEREP_ISA` forces a build: `x86-64`, `x86-64-v3`, `x86-64-v4`, `aarch64` or `generic`. `SCENEREP_THREADS` forces the
number of threads; otherwise `torch.set_num_threads` rules where torch is loaded, cut by a container's CPU quota, else
the CPUs that this process may use.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from types import ModuleType

from scenerep.cpus import affinity_cpus, usable_cpus
from scenerep.errors import ConfigError, DeviceError

_MODULES = {
    "x86-64": "_native_x86_64",
    "x86-64-v3": "_native_x86_64_v3",
    "x86-64-v4": "_native_x86_64_v4",
    "aarch64": "_native_aarch64",
    "generic": "_native_generic",
}
# Builds that run on a CPU, best first, by the module's cpu_level(); those that were not built are passed over.
_LEVELS = {
    0: ("aarch64", "generic"),
    1: ("x86-64", "generic"),
    3: ("x86-64-v3", "x86-64", "generic"),
    4: ("x86-64-v4", "x86-64-v3", "x86-64", "generic"),
}


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
    base = _import("x86-64") or _import("aarch64") or _import("generic")
    if base is None:
        raise DeviceError(
            "scenerep's native module is not built",
            "install a C++17 compiler (g++ or clang++), then run: pip install -e .",
        )
    return tuple(isa for isa in _LEVELS[base.cpu_level()] if _import(isa) is not None)


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


def thread_count() -> int:
    """Threads that the kernels should use now."""
    forced = os.environ.get("SCENEREP_THREADS")
    if forced:
        if not forced.isdigit() or int(forced) < 1:
            raise ConfigError(f"SCENEREP_THREADS={forced} is not a positive number")
        return int(forced)
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):  # the latter while torch is being imported
        return usable_cpus()
    count = int(torch.get_num_threads())
    # Whether somebody chose that number cannot be asked. Up to the number of CPUs it may be torch's own, which knows no
    # quota: more threads than the quota grants would only be stopped in turn. More threads than CPUs is a choice.
    return count if count > affinity_cpus() else max(1, min(count, usable_cpus()))


def native() -> ModuleType:
    """The module, with its pool set to `thread_count()`."""
    module = _load()[1]
    count = thread_count()
    if module.threads() != count:
        module.set_threads(count)
    return module
