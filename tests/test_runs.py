"""Run folders: what is written comes back, and no accident loses the last good state."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from scenerep import checkpoints
from scenerep.errors import ConfigError, DataError, FormatError
from scenerep.runs import Run, RunWarning, default_run_path, link_latest


@dataclass(frozen=True)
class Config:
    steps: int = 10
    rate: float = 0.5


def arrays(value: float = 0.0, n: int = 5) -> dict[str, np.ndarray]:
    return {
        "means": np.full((n, 3), value, np.float32),
        "log_scales": np.zeros((n, 3), np.float32),
        "quats": np.ones((n, 4), np.float32),
        "opacity_logits": np.zeros(n, np.float32),
        "sh": np.zeros((n, 4, 3), np.float32),
        "adam/means/m": np.ones((n, 3), np.float32),
        "rng": np.arange(20, dtype=np.uint8),
        "visible": np.zeros(n, bool),
        "empty": np.zeros((0, 3), np.float16),
        "scalar": np.array(3, np.int64),
    }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", "splats", Config(), tmp_path, seed=7, max_side=640, test_every=4)


def files(run: Run) -> list[str]:
    return sorted(file.name for file in (run.path / "checkpoints").iterdir())


# --- config.json


def test_create_and_open(run: Run, tmp_path: Path) -> None:
    again = Run.open(run.path)
    assert (again.method, again.seed, again.max_side, again.test_every) == ("splats", 7, 640, 4)
    assert again.data == tmp_path
    assert again.config == {"steps": 10, "rate": 0.5}
    assert again.typed_config(Config) == Config()
    again.set_config(Config(steps=20))
    assert Run.open(run.path).typed_config(Config) == Config(steps=20)


def test_create_replaces_nothing_unasked(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already") as caught:
        Run.create(run.path, "splats", Config(), tmp_path)
    assert "--overwrite" in caught.value.hint
    run.save_checkpoint(1, arrays(), {})
    fresh = Run.create(run.path, "splats", Config(steps=3), tmp_path, overwrite=True)
    assert fresh.latest_checkpoint() is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_overwrite_never_removes_what_is_no_run(tmp_path: Path) -> None:
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "a.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="is not a run"):
        Run.create(precious, "splats", Config(), tmp_path, overwrite=True)
    assert (precious / "a.jpg").exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c | {"seed": "7"}, "config.json.seed: expected an integer"),
        (lambda c: c | {"colour": 1}, "unknown key 'colour'"),
        (lambda c: c | {"version": 2}, "is of version 2"),
        (lambda c: [c], "expected an object"),
    ],
)
def test_edited_header_is_refused(run: Run, edit, message: str) -> None:
    file = run.path / "config.json"
    file.write_text(json.dumps(edit(json.loads(file.read_text()))))
    with pytest.raises(ConfigError) as caught:
        Run.open(run.path)
    assert message in caught.value.message


def test_edited_config_is_refused(run: Run) -> None:
    run._header.config["stepz"] = 3
    with pytest.raises(ConfigError, match="unknown key 'stepz'") as caught:
        run.typed_config(Config)
    assert "config.json" in caught.value.message


def test_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match="not a run"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        Run.open(tmp_path)


def test_data_is_found_when_both_were_moved(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "capture").mkdir(parents=True)
    Run.create(before / "runs" / "a", "splats", Config(), before / "capture")
    before.rename(after)
    assert Run.open(after / "runs" / "a").data == after / "capture"


def test_default_path_and_latest(tmp_path: Path) -> None:
    now = datetime(2024, 2, 29, 12, 30, 1)
    first = default_run_path("fox", "splats", tmp_path, now)
    assert first == tmp_path / "fox" / "splats" / "20240229-123001"
    Run.create(first, "splats", Config(), tmp_path)
    second = default_run_path("fox", "splats", tmp_path, now)
    assert second.name == "20240229-123001-1"
    Run.create(second, "splats", Config(steps=2), tmp_path)
    link_latest(first)
    link_latest(second)
    latest = first.parent / "latest"
    assert latest.is_symlink()
    assert Run.open(latest).path == second
    assert Run.open(latest).typed_config(Config).steps == 2


def test_latest_leaves_a_real_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "run").mkdir()
    link_latest(tmp_path / "run")
    assert not (tmp_path / "latest").is_symlink()


# --- metrics.jsonl


def test_metrics(run: Run) -> None:
    run.log({"step": 1, "loss": 0.5, "psnr": float("inf")})
    run.log({"step": 2, "loss": 0.25})
    assert run.metrics() == [{"step": 1, "loss": 0.5, "psnr": None}, {"step": 2, "loss": 0.25}]


def test_a_torn_last_line_is_tolerated_and_then_dropped(run: Run) -> None:
    run.log({"step": 1})
    run.log({"step": 2})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert [entry["step"] for entry in run.metrics()] == [1, 2]
    run.rewind(1)
    run.log({"step": 2, "again": True})
    assert run.metrics() == [{"step": 1}, {"step": 2, "again": True}]


def test_a_broken_line_in_the_middle_is_an_error(run: Run) -> None:
    (run.path / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(FormatError, match="at byte 12"):
        run.metrics()


# --- checkpoints


def test_checkpoint_round_trip(run: Run) -> None:
    saved = arrays(1.5) | {"transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    state = {"seconds": 12.5, "antialiased": True, "rng": {"a": [1, 2**70]}}
    path = run.save_checkpoint(3, saved, state)
    found = Run.open(run.path).latest_checkpoint()
    assert found is not None
    assert (found.step, found.path, found.state) == (3, path, state)
    assert found.arrays.keys() == saved.keys()
    for name, array in saved.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def test_scene(run: Run) -> None:
    with pytest.raises(DataError, match="not saved a scene yet"):
        run.scene()
    run.save_checkpoint(3, arrays(1.5), {"seconds": 60.0, "antialiased": True})
    scene = run.scene()
    assert len(scene) == 5
    assert scene.sh_degree == 1
    assert scene.antialiased
    assert scene.metadata["step"] == 3
    np.testing.assert_array_equal(scene.means, np.full((5, 3), 1.5))


def test_the_last_two_are_kept(run: Run) -> None:
    assert run.latest_checkpoint() is None
    for step in (1, 2, 3, 3):
        run.save_checkpoint(step, arrays(step), {})
    assert files(run) == ["step_00000002.safetensors", "step_00000003.safetensors"]


def test_a_new_history_replaces_the_old_future(run: Run) -> None:
    run.save_checkpoint(10, arrays(), {})
    run.save_checkpoint(20, arrays(), {})
    run.save_checkpoint(15, arrays(), {})
    assert files(run) == ["step_00000010.safetensors", "step_00000015.safetensors"]


def _truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip_in_array(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def _flip_in_state(data: bytes) -> bytes:
    return data.replace(b'\\"seconds\\": 2', b'\\"seconds\\": 9')


@pytest.mark.parametrize(
    "damage", [_truncate, _flip_in_array, _flip_in_state, lambda data: b"", lambda data: b"\xff" * len(data)]
)
def test_a_damaged_newest_falls_back(run: Run, damage) -> None:
    run.save_checkpoint(1, arrays(1), {"seconds": 1})
    newest = run.save_checkpoint(2, arrays(2), {"seconds": 2})
    before = newest.read_bytes()
    newest.write_bytes(damage(before))
    assert newest.read_bytes() != before
    with pytest.warns(RunWarning, match=r"step_00000002.*going back to step 1"):
        found = Run.open(run.path).latest_checkpoint()
    assert found is not None
    assert found.step == 1
    run.save_checkpoint(2, arrays(3), {})  # training on repairs it
    assert run.latest_checkpoint().step == 2  # type: ignore[union-attr]


def test_every_flipped_byte_is_noticed(run: Run, rng: np.random.Generator) -> None:
    """Only FormatError comes out, or exactly what went in (a flip in padding or in an unread key)."""
    path = run.save_checkpoint(1, arrays(1), {"seconds": 2})
    data = path.read_bytes()
    good = checkpoints.read_checkpoint(path)
    caught = 0
    for place in rng.integers(0, len(data), 300):
        path.write_bytes(data[:place] + bytes([data[place] ^ int(rng.integers(1, 256))]) + data[place + 1 :])
        try:
            found = checkpoints.read_checkpoint(path)
        except FormatError:
            caught += 1
            continue
        assert found.state == good.state
        for name, array in found.arrays.items():
            np.testing.assert_array_equal(array, good.arrays[name])
    assert caught > 250


def test_all_damaged(run: Run) -> None:
    for step in (1, 2):
        _ = run.save_checkpoint(step, arrays(), {}).write_bytes(b"x")
    with pytest.raises(DataError, match=r"step_00000001.*step_00000002"):
        run.latest_checkpoint()


def test_full_disk_patched(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save_checkpoint(1, arrays(1), {})

    def full(arrays, path, metadata) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(DataError, match=r"step_00000002.*disk is full") as caught:
        run.save_checkpoint(2, arrays(2), {})
    assert "free some space" in caught.value.hint
    assert files(run) == ["step_00000001.safetensors"]
    assert run.latest_checkpoint().step == 1  # type: ignore[union-attr]


def test_full_disk_real(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        run = Run.create(disk / "run", "splats", Config(), tmp_path)
        run.save_checkpoint(1, arrays(1), {})
        with pytest.raises(DataError, match="disk is full"):
            run.save_checkpoint(2, arrays(2, n=20_000), {})
        assert files(run) == ["step_00000001.safetensors"]
        run.log({"step": 1})
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(bytes(1 << 20))
        with pytest.raises(DataError, match=r"metrics.jsonl: cannot be written"):
            run.log({"step": 2, "text": "x" * 10_000})
        assert run.metrics() == [{"step": 1}]
        assert run.latest_checkpoint().step == 1  # type: ignore[union-attr]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


_SAVER = """
import sys
import numpy as np
from scenerep.runs import Run
run = Run.open(sys.argv[1])
step = 0
while True:
    step += 1
    run.log({"step": step})
    run.save_checkpoint(step, {"means": np.full((20_000, 3), step, np.float32)}, {"seconds": step})
    if step == 1:
        print("going", flush=True)
"""


def test_kill_at_any_moment(run: Run, rng: np.random.Generator) -> None:
    """kill -9 while checkpoints are written without pause: one is always whole, and nothing is left lying about."""
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", _SAVER, str(run.path)], stdout=subprocess.PIPE)
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(float(rng.uniform(0.0, 0.1)))
            process.send_signal(signal.SIGKILL)
        found = Run.open(run.path).latest_checkpoint()
        assert found is not None
        np.testing.assert_array_equal(found.arrays["means"], found.step)
        assert found.state["seconds"] == found.step
        run.rewind(found.step)
        assert all(entry["step"] <= found.step for entry in run.metrics())
        assert len(files(run)) <= 3  # the oldest may not have been removed yet
        assert not [name for name in files(run) if name.startswith(".")]


def test_stale_files_are_removed_and_living_ones_are_not(run: Run) -> None:
    run.save_checkpoint(1, arrays(), {})
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = run.path / "checkpoints"
    stale, alive = folder / f".step_00000002.safetensors.{gone.pid}.tmp", folder / f".x.{os.getpid()}.tmp"
    old = folder / f".y.{os.getpid()}.tmp"
    for temporary in (stale, alive, old):
        temporary.mkdir()
        (temporary / "half").write_bytes(b"half")
    os.utime(old, (0, 0))
    Run.open(run.path)
    assert (stale.exists(), alive.exists(), old.exists()) == (False, True, False)


def test_only_one_process_trains_a_run(run: Run) -> None:
    with run.locked(), pytest.raises(DataError, match="another process"), Run.open(run.path).locked():
        pass
    with run.locked():
        pass
