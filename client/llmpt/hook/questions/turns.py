"""One thread after the other, for each of many things: what many threads want to know at once is asked once."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

_MOST = 1000


class Turns:
    """A lock for each key. A forked child has new ones: another thread of its parent may have held the old."""

    def __init__(self) -> None:
        self._pid, self._locks = os.getpid(), dict[Hashable, threading.Lock]()

    @contextmanager
    def take(self, key: Hashable, *, wait_s: float) -> Iterator[None]:
        """Wait for the turn, for `wait_s` seconds at most: then two go on at once, which costs a question and no more."""
        if self._pid != os.getpid() or len(self._locks) > _MOST:
            self._pid, self._locks = os.getpid(), {}
        lock = self._locks.setdefault(key, threading.Lock())
        is_mine = lock.acquire(timeout=wait_s)
        try:
            yield
        finally:
            if is_mine:
                lock.release()
