"""A log of one JSON object a line that outlives crashes: what a run writes as metrics.jsonl."""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any

from scenerep.checkpoints import write_whole
from scenerep.errors import DataError, FormatError


def append(file: Path, entry: dict[str, Any]) -> None:
    """Appends one line. Numbers that are not finite become null, as JSON has no word for them.

    Raises:
        DataError: The disk is full; the file is as it was.
    """
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}
    line = json.dumps(finite, allow_nan=False) + "\n"
    size = file.stat().st_size if file.exists() else 0
    try:
        with file.open("ab") as out:
            out.write(line.encode())
    except OSError as error:
        with contextlib.suppress(OSError):
            os.truncate(file, size)  # half a line would spoil the next one
        raise DataError(f"{file}: cannot be written: {error.strerror}", "free some space, then resume") from error


def read(file: Path) -> list[dict[str, Any]]:
    """All lines; none if there is no file. A last line that a crash cut short is left out.

    Raises:
        FormatError: A line in the middle is not a JSON object.
    """
    lines = file.read_bytes().split(b"\n") if file.exists() else []
    parsed: list[dict[str, Any]] = []
    offset = 0
    for line in lines[:-1]:  # what follows the last newline is empty or torn
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise FormatError(file, "a JSON object on each line", repr(line[:40]), offset, "remove that line")
        parsed.append(entry)
        offset += len(line) + 1
    return parsed


def rewind(file: Path, step: int) -> None:
    """Drops the lines whose `step` is greater, and a torn last one."""
    if not file.exists():
        return
    text = "".join(json.dumps(entry) + "\n" for entry in read(file) if entry.get("step", 0) <= step)
    write_whole(file, lambda path: path.write_text(text, "utf-8"))
