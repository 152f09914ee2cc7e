"""How fast the clients together are sent to: LLMPT_UPLOAD_LIMIT, by the hours of the day."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable

from llmpt.core.rates import RateLimit

FREE_BYTES = 64 << 20  # at once when there is no limit; between two such portions the interpreter is needed, which may be busy
PACED_BYTES = 256 << 10  # at most, when there is one
LEAST_BYTES = 4 << 10
PORTIONS_PER_S = 20
BURST_S = 0.05


class Pace:
    """A token bucket for all clients: a client that takes a portion waits until it is due, in the order of asking."""

    def __init__(
        self,
        limit: RateLimit,
        *,
        clock: Callable[[], float] = time.monotonic,
        hour: Callable[[], datetime.time] = lambda: datetime.datetime.now().time(),
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._limit, self._clock, self._hour, self._sleep = limit, clock, hour, sleep
        self._lock = threading.Lock()
        self._free_at = clock()

    def take(self, wanted: int) -> int:
        """Wait as long as it takes, and return how many of the `wanted` bytes may be sent now: one at least."""
        rate = self._limit.at(self._hour())
        if not rate:
            return min(wanted, FREE_BYTES)
        count = min(wanted, max(LEAST_BYTES, min(PACED_BYTES, rate // PORTIONS_PER_S)))
        with self._lock:
            now = self._clock()
            due = max(self._free_at, now - BURST_S)
            self._free_at = due + count / rate
        if due > now:
            self._sleep(due - now)
        return count
