"""How a training looks on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import Any

from scenerep.cli.common import PLAIN_SECONDS, format_seconds, say
from scenerep.events import Evaluated, Event, Scored, Step, Warned

_WINDOW_SECONDS = 5.0  # the rate shown is that of the last few seconds


class TrainingDisplay:
    """Follows the events of a trainer. Use as a context manager; `update(event)` after each event.

    noun: What the events' `count` counts.
    """

    def __init__(self, noun: str = "Gaussians") -> None:
        self._noun = noun
        self.step: Step | None = None
        self.evaluated: Evaluated | Scored | None = None
        self._recent: deque[tuple[float, int]] = deque()
        self._last_line = time.monotonic()
        self._said = "starting"
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> TrainingDisplay:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            columns = (BarColumn(bar_width=24), TaskProgressColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
            self._task = self._bar.add_task("starting", total=1.0)
            self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._say_line()

    def update(self, event: Event) -> None:
        """Takes in one event."""
        if isinstance(event, Step):
            self.step = event
            self._recent.append((event.seconds, event.step))
            while event.seconds - self._recent[0][0] > _WINDOW_SECONDS:
                self._recent.popleft()
        elif isinstance(event, Evaluated | Scored):
            self.evaluated = event
        elif isinstance(event, Warned):
            self._above(f"warning: {event.message}")
        self._draw()

    def finish(self) -> None:
        """The budget is used up: fills the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=1.0, description=self.line())

    def rate(self) -> float:
        """Steps per second lately; 0 before the second step."""
        if len(self._recent) < 2:
            return 0.0
        (start, first), (end, last) = self._recent[0], self._recent[-1]
        return (last - first) / (end - start) if end > start else 0.0

    def line(self) -> str:
        """`step 1200  35.2 it/s  loss 0.0432  54321 Gaussians  PSNR 27.31  1:23 left`"""
        if self.step is None:
            return "starting"
        s = self.step
        parts = [f"step {s.step}", f"{self.rate():.1f} it/s", f"loss {s.loss:.4f}", f"{s.count} {self._noun}"]
        if isinstance(self.evaluated, Scored):
            parts.append(f"F-score {self.evaluated.f_score:.4f}")
        elif self.evaluated is not None:
            parts.append(f"PSNR {self.evaluated.psnr:.2f}")
        return "  ".join([*parts, f"{format_seconds(s.seconds_left)} left"])

    def _draw(self) -> None:
        if self._bar is not None:
            done = self.step.progress if self.step else 0.0
            self._bar.update(self._task, completed=done, description=self.line())
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._say_line()

    def _say_line(self) -> None:
        if self.line() != self._said:
            self._last_line = time.monotonic()
            self._said = self.line()
            say(self._said)

    def _above(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            say(text)
