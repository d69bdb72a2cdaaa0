"""Checkpoints: one safetensors file each, that is there whole or not at all.

`step_00001234.safetensors` holds the named arrays; its metadata holds the state (JSON) and a CRC-32 of every array and
of the state. The file is written under a temporary name, flushed to the disk and renamed, so a crash, a full disk or
`kill -9` at any moment leaves the previous checkpoint as it was. CRC-32 because the enemy is accident, not malice, and
because it costs a tenth of the write.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from scenerep.errors import DataError, FormatError

_NAME = re.compile(r"step_(\d+)\.safetensors")
_TEMPORARY = re.compile(r"\.(.+)\.(\d+)\.tmp")
_STALE_SECONDS = 3600.0  # containers use the same process ids again and again, so age counts too


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: the step, the arrays by name, and the state (any JSON values)."""

    step: int
    path: Path
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def checkpoint_files(folder: Path) -> list[tuple[int, Path]]:
    """(step, file) of the checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = ((_NAME.fullmatch(file.name), file) for file in folder.iterdir())
    return sorted((int(match[1]), file) for match, file in found if match)


def write_checkpoint(folder: Path, step: int, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> Path:
    """Writes `folder/step_<step>.safetensors` and returns its path; see the module's docstring for what a crash leaves.

    Args:
        arrays: By name; any of numpy's bool, integer and float types, any shape.
        state: JSON values.

    Raises:
        DataError: The disk is full or cannot be written; nothing that was there before is lost.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps(state)
    sums = {name: _crc(array) for name, array in arrays.items()}
    metadata = {
        "scenerep_checkpoint": "1",
        "step": str(step),
        "state": text,
        "crc32": json.dumps(sums),
        "state_crc32": str(zlib.crc32(text.encode())),
    }
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step_{step:08d}.safetensors"
    write_whole(final, lambda path: save_file(arrays, path, metadata))
    return final


Names = Iterable[str] | Callable[[dict[str, Any]], Iterable[str]] | None


def read_checkpoint(path: Path, names: Names = None) -> Checkpoint:
    """Reads one checkpoint and compares its sums.

    Args:
        names: The arrays to read, or a function from the state to them; all of them by default.

    Raises:
        FormatError: The file is cut, changed or not a checkpoint.
        FileNotFoundError: It is gone (a training that goes on removes old ones).
    """
    with path.open("rb"):  # a missing file is no damage; safetensors would report both in the same way
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            text = metadata["state"]
            sums, state, step = json.loads(metadata["crc32"]), json.loads(text), int(metadata["step"])
            wanted = names(state) if callable(names) else names
            arrays = {name: file.get_tensor(name) for name in (file.keys() if wanted is None else wanted)}
        wrong = [name for name, array in arrays.items() if sums[name] != _crc(array)]
        if int(metadata["state_crc32"]) != zlib.crc32(text.encode()):
            wrong.append("state")
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FormatError(path, "a whole checkpoint", f"a damaged file ({error})") from error
    if wrong:
        raise FormatError(path, "the checksums it was written with", f"others in: {', '.join(wrong)}")
    return Checkpoint(step, path, arrays, state)


def _crc(array: np.ndarray) -> int:
    """CRC-32 over the type, the shape and the bytes."""
    head = zlib.crc32(f"{array.dtype.str} {array.shape}".encode())
    return zlib.crc32(array.reshape(-1).view(np.uint8).data, head)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write(temporary path)`, flushes the file to the disk and gives it its name.

    The temporary path lies in a folder of its own: safetensors makes temporary files of its own beside what it writes,
    under names that say nothing of their writer, and a kill would leave them lying about.

    Raises:
        DataError: The disk is full or refuses; the temporary folder is removed and `path` is as it was.
    """
    folder = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(exist_ok=True)
        write(folder / path.name)
        _flush(folder / path.name)
        (folder / path.name).replace(path)
        _flush(path.parent)
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(error)
        reason = "the disk is full" if full else str(error)
        hint = "free some space, then resume the run; what was saved before is still there"
        raise DataError(f"{path}: cannot be written: {reason}", hint if full else "") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_stale(folder: Path) -> None:
    """Removes the temporary folders of processes that are gone. Those of living ones are being written."""
    if not folder.is_dir():
        return
    for file in folder.iterdir():
        match = _TEMPORARY.fullmatch(file.name)
        with contextlib.suppress(OSError):  # its writer has just renamed it, or the disk is read-only
            if match and (not _alive(int(match[2])) or time.time() - file.stat().st_mtime > _STALE_SECONDS):
                shutil.rmtree(file)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
