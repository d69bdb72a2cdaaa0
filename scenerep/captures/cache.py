"""A cache of arrays with a budget in bytes; the least recently used go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np


class ByteCache:
    """Thread-safe; two threads that want the same entry load it once.

    Args:
        budget: Bytes held at most. An array larger than the budget is handed out and not kept.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        self._entries: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[Hashable, threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, load: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of `key`, from the cache or from `load()`; read-only, since many readers share it."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                if key in self._entries:  # another thread loaded it while this one waited
                    self._entries.move_to_end(key)
                    return self._entries[key]
            array = load()
            array.flags.writeable = False
            with self._lock:
                self._loading.pop(key, None)
                if array.nbytes <= self.budget:
                    self._entries[key] = array
                    self.used += array.nbytes
                    while self.used > self.budget:
                        self.used -= self._entries.popitem(last=False)[1].nbytes
            return array
