"""Figures over all there is, which many look at and few need to the second: counted by one at a time, and kept for a while.

How long follows from what counting costs: a small catalogue is counted each time, a big one for a twentieth of the time at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar, cast

KEPT_TIMES = 20  # as long as counting took
FREE_S = 0.01  # what costs less is counted each time
MOST = 64

_Found = TypeVar("_Found")


class Figures:
    """Keeps what was counted, by what it was counted for. Used by many threads."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic, self._lock = monotonic, Lock()
        self._kept: dict[Hashable, tuple[float, Any]] = {}  # until when, and what
        self._counting: set[Hashable] = set()

    def get(self, what: Hashable, count: Callable[[], _Found]) -> _Found:
        """Return what `count` returns, or what it did a moment ago; the old while another thread counts anew."""
        began = self._monotonic()
        with self._lock:
            kept = self._kept.get(what)
            if kept is not None and (began < kept[0] or what in self._counting):
                return cast("_Found", kept[1])
            self._counting.add(what)
        try:
            found = count()
        finally:
            with self._lock:
                self._counting.discard(what)
        now = self._monotonic()
        with self._lock:
            if len(self._kept) >= MOST:
                self._kept.clear()
            self._kept.pop(what, None)
            if now - began > FREE_S:
                self._kept[what] = now + KEPT_TIMES * (now - began), found
        return found

    def forget(self) -> None:
        """Count all anew."""
        with self._lock:
            self._kept.clear()
