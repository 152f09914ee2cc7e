"""How many clients get bytes at once: each holds a place meanwhile, and what it means that there is none is said."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("llmpt.seeder")

SAID_EVERY_S = 60.0
SHOWN_S = 600.0


class Places:
    """`most` places, for any thread. That a client waited in vain is logged once a minute, and a trouble for a while."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._free = threading.BoundedSemaphore(most)
        self._full_at = self._said_at = float("-inf")

    @contextmanager
    def one(self, timeout_s: float) -> Iterator[bool]:
        """Hold a place, and yield whether there was one within `timeout_s`."""
        if not self._free.acquire(timeout=timeout_s):
            self.turned_away()
            yield False
            return
        try:
            yield True
        finally:
            self._free.release()

    def turned_away(self) -> None:
        """Note that a client got no place."""
        self._full_at = self._clock()
        if self._full_at - self._said_at >= SAID_EVERY_S:
            self._said_at = self._full_at
            log.warning("%s", self._reason())

    def trouble(self) -> str | None:
        """Say that clients were turned away within the last minutes; None: none was."""
        return self._reason() if self._clock() - self._full_at < SHOWN_S else None

    def _reason(self) -> str:
        return f"all {self._most} places for clients over HTTP were taken: some were told to come back (503)"
