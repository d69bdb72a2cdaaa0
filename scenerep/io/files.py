"""Files appear whole or not at all: written beside their place under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from scenerep.errors import DataError


@contextlib.contextmanager
def replacing(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path in the folder of `path`, with its ending; renamed to `path` if the block ends without an error.

    Args:
        path: Where the file shall be; its folder is made.
        overwrite: Whether a file that stands there may be replaced.

    Raises:
        DataError: if the file exists and must not be replaced, or cannot be written.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes files private; the result gets the rights of an ordinary new file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}", "choose another place with --out"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _holds_pictures(folder: Path) -> bool:
    return all(file.suffix == ".png" for file in folder.iterdir())


@contextlib.contextmanager
def replacing_folder(
    path: str | Path, *, overwrite: bool = False, ours: Callable[[Path], bool] = _holds_pictures, what: str = "pictures"
) -> Iterator[Path]:
    """A new empty folder beside `path`, renamed to `path` if the block ends without an error.

    With `overwrite` a folder in that place is replaced if it is one of `ours`; any other is left alone.

    Args:
        path: Where the folder shall be.
        overwrite: Whether a folder that stands there may be replaced.
        ours: Whether a folder is such that only we can have made it.
        what: What such a folder holds, in words.

    Raises:
        DataError: if something stands there that must not be replaced, or the disk refuses.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    if path.exists() and not (path.is_dir() and ours(path)):
        raise DataError(f"{path} holds other things than {what}", "choose another folder")
    temporary = old = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        if path.exists():  # folders cannot be replaced in one step: the old one steps aside first
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-old-"))
            path.replace(old)
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}", "choose another place with --out"
        ) from error
    finally:
        for folder in (temporary, old):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def refuse_existing(path: str | Path, overwrite: bool) -> None:
    """Raise a DataError if something stands at `path` and must not be replaced."""
    if not overwrite and Path(path).exists():
        raise DataError(f"{path} exists already", "choose another name or add --overwrite")


def write_bytes(path: str | Path, data: bytes, *, overwrite: bool = True) -> None:
    """Write a whole file atomically, on disk before it takes its name."""
    with replacing(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
