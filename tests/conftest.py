"""Fixtures for everyone: seeds, the shared data, a small synthetic capture, and threads that do not fight."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# Before torch is loaded anywhere: with pytest-xdist the workers share the CPUs.
_CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _CPUS // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))))

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

if TYPE_CHECKING:
    from scenerep.captures import Capture

SEED = 20240229
ROOT = Path(__file__).resolve().parents[1]

# The same examples every time, and no deadline: the machine may be busy, or emulated.
hypothesis.settings.register_profile(
    "scenerep",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("scenerep")


@pytest.fixture
def seed() -> int:
    """The seed for whatever takes one."""
    return SEED


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh numpy generator with the tests' seed."""
    return np.random.default_rng(SEED)


@pytest.fixture(autouse=True)
def _same_start_for_every_test():
    """Global generators seeded before each test; torch's thread count put back after it."""
    random.seed(SEED)
    np.random.seed(SEED)  # some libraries draw from the global generator
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    if torch:
        torch.manual_seed(SEED)
    yield
    if torch and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real captures beside the checkout; the test is skipped where it is not."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the captures in ../shared/data")
    return folder


@pytest.fixture(scope="session")
def synthetic_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a synthetic capture: 16 views of 64 x 64 pixels, cameras, masks and points known. Do not change it."""
    from scenerep.data_tools.synthetic import make_synthetic

    folder = tmp_path_factory.mktemp("captures") / "synthetic"
    make_synthetic(folder, views=16, size=64, seed=0)
    return folder


@pytest.fixture
def synthetic(synthetic_dir: Path) -> Capture:
    """The synthetic capture, opened afresh."""
    from scenerep.data_tools import open_capture

    return open_capture(synthetic_dir)
