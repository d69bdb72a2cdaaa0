"""What `scenerep image` does to many files: which ones, where the results go, and several at a time."""

from __future__ import annotations

import glob
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from scenerep.cli.common import stage_progress
from scenerep.cpus import usable_cpus
from scenerep.errors import ConfigError, DataError

_WILD = set("*?[")


def pairs(paths: tuple[Path, ...], endings: tuple[str, ...], ending: str) -> list[tuple[Path, Path]]:
    """(file in, file out) for `IN ... OUT`.

    Args:
        paths: Files, folders (of which those with one of `endings` are taken) and patterns; the last one is OUT: a file
            if there is one file in and it has an ending, else a folder.
        endings: Of files in, in lower case.
        ending: Of files out that are put into a folder.

    Raises:
        ConfigError: Less than two paths, or two files that would become one. DataError: Nothing there.
    """
    if len(paths) < 2:
        raise ConfigError("two names are needed: what to read and what to write", "add the output as the last name")
    *sources, out = paths
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            files += sorted(p for p in source.iterdir() if p.is_file() and p.suffix.lower() in endings)
        elif not source.exists() and _WILD & set(str(source)):
            found = glob.glob(str(source), recursive=True)  # noqa: PTH207  (of any path, absolute ones too)
            files += sorted(Path(name) for name in found if Path(name).is_file())
        else:
            files.append(source)
    if not files:
        raise DataError(f"{', '.join(map(str, sources))}: there is no file to read", f"endings: {', '.join(endings)}")
    single = len(sources) == 1 and len(files) == 1 and not sources[0].is_dir()
    if single and out.suffix and not out.is_dir():
        return [(files[0], out)]
    todo = [(file, out / f"{file.stem}{ending}") for file in files]
    names = [target for _, target in todo]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise ConfigError(f"two files would become {double}", "give them different names")
    return todo


def run_all(
    work: Callable[[tuple[Path, Path]], dict[str, Any]], todo: list[tuple[Path, Path]], stage: str, jobs: int | None
) -> list[dict[str, Any]]:
    """The results of all pieces of work, in order, several at a time; the first error ends it."""
    count = min(len(todo), jobs or usable_cpus())
    if count < 1:
        raise ConfigError(f"--jobs {jobs} is not possible", "use 1 or more")
    with stage_progress() as progress, ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(work, pair) for pair in todo]
        try:
            for done, future in enumerate(as_completed(futures)):
                future.result()
                progress(stage, done + 1, len(todo))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [future.result() for future in futures]
