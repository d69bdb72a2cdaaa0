"""What all commands share: exit codes, results on stdout, progress on stderr, signals that wait for a good moment."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from scenerep.errors import SceneRepError

Progress = Callable[[str, int, int], None]

EXIT_DONE, EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
PLAIN_SECONDS = 5.0
"""Time between two lines of progress where stderr is not a terminal."""


def say(text: str) -> None:
    """One line on stderr: what goes on, as opposed to results."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON object on stdout. Numbers that are not finite become null: JSON has no word for them."""
    print(json.dumps(_finite(value), indent=2, default=str), flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(rows: list[tuple[str, str]]) -> None:
    """Two aligned columns on stdout."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    sys.stdout.flush()


def short(path: Path) -> str:
    """A path as a user in this folder would type it."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd())) or "."
    return str(path)


def format_bytes(count: float) -> str:
    """1536 -> `1.5 KiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"


def format_seconds(seconds: float) -> str:
    """83 -> `1:23`, 3723 -> `1:02:03`; `?` if not known."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextlib.contextmanager
def stage_progress() -> Iterator[Progress]:
    """Gives a callback `progress(stage, done, total)` that draws one bar a stage on stderr, or plain lines."""
    if not sys.stderr.isatty():
        yield _plain_progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage)
            bars.update(tasks[stage], completed=done, total=total)

        yield update


def _plain_progress() -> Progress:
    said: dict[str, float] = {}  # when a stage was last spoken of; infinity once it is done

    def update(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - said.get(stage, -math.inf) >= PLAIN_SECONDS or (done >= total and said[stage] < math.inf):
            said[stage] = math.inf if done >= total else now
            say(f"{stage}: {done}/{total}")

    return update


class Interrupts:
    """While entered, SIGINT and SIGTERM only set `requested`, so that work can stop where it can be saved.

    A second one raises KeyboardInterrupt at once, for users who will not wait.

    Args:
        notice: What to tell the user when the first one comes.
    """

    def __init__(self, notice: str = "") -> None:
        self.requested = False
        self._notice = notice
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():  # signals can be caught nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        # os.write: print may be in the middle of a line, and it is not allowed to be entered twice.
        os.write(2, f"\n{self._notice}\n".encode() if self._notice else b"\n")


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _user_facing() -> Iterator[None]:
    """Warnings as one line each; SIGTERM cleans up as SIGINT does, so that no half-written files stay behind."""
    in_main = threading.current_thread() is threading.main_thread()  # signals can be caught nowhere else
    before = signal.signal(signal.SIGTERM, _raise_interrupt) if in_main else None
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *args, **kwargs: say(f"warning: {message}")
        try:
            yield
        finally:
            if in_main:
                signal.signal(signal.SIGTERM, before)


def run_command(command: Callable[[], int | None]) -> int:
    """Runs a command and turns what it raises into an exit code and a message on stderr.

    SCENEREP_DEBUG=1 shows the traceback of a SceneRepError too; all other exceptions are bugs and always show theirs.
    """
    try:
        with _user_facing():
            return command() or EXIT_DONE
    except SceneRepError as error:
        if os.environ.get("SCENEREP_DEBUG") == "1":
            raise
        say(f"error: {error.message}")
        if error.hint:
            say(f"hint: {error.hint}")
        return EXIT_ERROR
    except KeyboardInterrupt:
        say("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `scenerep info x | head`
        # Python flushes stdout once more at exit, which would complain again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
