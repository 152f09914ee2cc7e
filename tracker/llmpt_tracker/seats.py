"""So many requests of one process hold its threads at once: the others are for what must never wait.

A request of a client of the Hub's API may wait, for upstream or for a seeder that is busy, and holds a thread meanwhile. What
keeps the LAN going needs one at once, and takes no seat: heartbeats, look-ups, leases, the health check, and what the seeder
says and publishes, which is what the others wait for. The page does not either: it tells why others were turned away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from llmpt_tracker.waiting import MAX_WAITING

SHORT = 16  # more requests than those that may wait
RESERVED = 16  # threads without a seat
THREADS = MAX_WAITING + SHORT + RESERVED

_VITAL = ("/healthz", "/api/v1/")


class Seats:
    """The seats of one process; `on_full` is called when a request gets none."""

    def __init__(self, most: int = THREADS - RESERVED, *, on_full: Callable[[], None] = lambda: None) -> None:
        self.most = most
        self._free = threading.BoundedSemaphore(most)
        self._on_full = on_full

    def take(self) -> bool:
        """Take a seat, to be given back; False: all are taken."""
        if self._free.acquire(blocking=False):
            return True
        self._on_full()
        return False

    def give_back(self) -> None:
        """Leave a seat that was taken."""
        self._free.release()


def is_vital(path: str) -> bool:
    """Say whether a request may never wait for others: it takes no seat."""
    return path == "/" or path.startswith(_VITAL)
