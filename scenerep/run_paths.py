"""Where runs live: `runs/<capture>/<method>/<time>`, with a link `latest` beside them."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from datetime import datetime
from pathlib import Path

from scenerep.errors import DataError


def make_room(path: Path, overwrite: bool) -> None:
    """Leaves an empty folder at `path`.

    Raises:
        DataError: Something is there (with `overwrite`: something that is no run), or the place cannot be written.
    """
    try:
        if path.is_dir() and any(path.iterdir()):
            if not overwrite:
                raise DataError(f"{path} exists already", "choose another --out, or add --overwrite to replace it")
            if not (path / "config.json").is_file():
                raise DataError(f"{path} is not a run, so it is not overwritten", "choose another --out")
            aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
            path.rename(aside)  # at once: a crash while removing leaves no half run at `path`
            shutil.rmtree(aside)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path}: the run cannot be made there: {error.strerror}", "choose another --out") from error


def default_run_path(capture: str, method: str, root: str | Path = "runs", now: datetime | None = None) -> Path:
    """`root/<capture>/<method>/<time>`: a new place for a run."""
    base = Path(root) / capture / method
    name = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")
    path, count = base / name, 1
    while path.exists():
        path, count = base / f"{name}-{count}", count + 1
    return path


def link_latest(path: Path) -> None:
    """Points the link `latest` beside a run at it. A folder of that name, or a disk without links, is left alone."""
    link = path.parent / "latest"
    if link.exists() and not link.is_symlink():
        return
    temporary = path.parent / f".latest.{os.getpid()}.tmp"
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(path.name)
        temporary.replace(link)
