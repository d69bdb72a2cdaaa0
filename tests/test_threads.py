"""How many threads the kernels take: affinity, CPU quotas of containers, torch's number, the override."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from scenerep import cpus, native
from scenerep.errors import ConfigError


def _files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        # Nested: the group itself has no limit, one above has.
        (
            {
                "proc/self/cgroup": "0::/user.slice/build/job\n",
                "sys/fs/cgroup/user.slice/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/user.slice/build/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/user.slice/build/job/cpu.max": "max 100000\n",
            },
            2.0,
        ),
        # A sibling's limit is not ours.
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/b/cpu.max": "100000 100000\n"}, None),
        # A container whose path is that of the host: only the mounted root is there.
        ({"proc/self/cgroup": "0::/docker/0a1b\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        ({"proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        # Version 1, alone and beside version 2; `cpuset` is another controller.
        (
            {
                "proc/self/cgroup": "5:cpuset:/\n4:cpu,cpuacct:/job\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/job\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({"proc/self/cgroup": "rubbish\n", "sys/fs/cgroup/cpu.max": "many few\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, None),
    ],
)
def test_quota_of_the_control_group(files: dict[str, str], quota: float | None, tmp_path: Path):
    assert cpus.cgroup_quota(_files(tmp_path, files)) == quota


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretends to be a machine with that many CPUs and that quota."""

    def pretend(count: int, quota: float | None) -> None:
        monkeypatch.delenv("SCENEREP_THREADS", raising=False)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(count)), raising=False)
        monkeypatch.setattr(cpus, "cgroup_quota", lambda: quota)

    return pretend


@pytest.mark.parametrize(
    ("count", "quota", "expected"),
    [(8, None, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.2, 1), (2, 16.0, 2), (1, None, 1)],
)
def test_usable_cpus(count: int, quota: float | None, expected: int, machine):
    machine(count, quota)
    assert cpus.usable_cpus() == expected


@pytest.mark.parametrize(
    ("count", "quota", "chosen", "expected"),
    [
        (8, None, 8, 8),  # torch's own number
        (8, 2.0, 8, 2),  # the same in a container: torch knows no quota
        (8, 2.0, 4, 2),  # cores instead of hyperthreads, as torch counts with MKL
        (8, None, 3, 3),  # somebody called set_num_threads
        (8, 6.0, 1, 1),
        (2, 1.0, 5, 5),  # more than there are: certainly chosen
    ],
)
def test_torch_rules_and_the_quota_cuts(count: int, quota: float | None, chosen: int, expected: int, machine):
    machine(count, quota)
    torch.set_num_threads(chosen)
    assert native.thread_count() == expected
    assert native.native().threads() == expected


def test_environment_overrides_both(machine, monkeypatch: pytest.MonkeyPatch):
    machine(8, 2.0)
    torch.set_num_threads(2)
    monkeypatch.setenv("SCENEREP_THREADS", "5")
    assert native.thread_count() == 5
    for bad in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("SCENEREP_THREADS", bad)
        with pytest.raises(ConfigError, match="not a positive number"):
            native.thread_count()


def test_without_torch_the_quota_rules():
    """In a process of its own, where torch is not loaded, and torch is not loaded by asking."""
    code = (
        "import os, sys; from scenerep import cpus, native;"
        "os.sched_getaffinity = lambda pid: set(range(8)); cpus.cgroup_quota = lambda: 3.0;"
        "print(native.thread_count(), native.native().threads(), 'torch' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "SCENEREP_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "3", "False"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_the_module_brings_no_openmp():
    """A second OpenMP runtime would fight torch's."""
    code = (
        "import re; from pathlib import Path; from scenerep.native import native;"
        "native(); print(sorted(set(re.findall(r'lib[gi]?omp[^/]*[.]so[^ ]*', Path('/proc/self/maps').read_text()))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_kernels_release_the_gil():
    """Python goes on counting while one kernel call runs."""
    kernel = native.native()
    rows = 400_000
    arrays = [np.zeros((rows, 48), np.float32) for _ in range(4)]
    rate = np.ones(48, np.float32)
    begun, counted, ended = threading.Event(), [], threading.Event()

    def work() -> None:
        begun.set()
        try:
            for step in range(1, 4):
                kernel.adam_step(*arrays, None, rate, 0.9, 0.999, 1e-15, step, 48)
        finally:
            ended.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(10.0)  # a thread that holds the GIL keeps it: only a release lets the other one in
    try:
        worker = threading.Thread(target=work)
        worker.start()
        begun.wait()
        while not ended.is_set():
            counted.append(None)
            ended.wait(0)
        worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(counted) > 100
