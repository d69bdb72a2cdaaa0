"""asyncio in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def run_in_own_loop(work: Coroutine[Any, Any, None]) -> None:
    """As asyncio.run, in a thread: Playwright, once started, keeps a loop in the main one until the session ends."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
