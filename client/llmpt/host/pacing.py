"""A line of a log that strangers can cause as often as they like: said at once, and then once in a while for all of them.

refused = Paced(log.warning)
refused("refused %s: outside LLMPT_PEER_CIDRS", address)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

SAID_EVERY_S = 10.0


class Pace:
    """Lets each sentence pass once in `every_s` seconds, and counts the others. Safe to share among threads."""

    def __init__(self, every_s: float = SAID_EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._clock = every_s, clock
        self._lock = threading.Lock()
        self._untold: dict[str, int] = {}
        self._said_at: dict[str, float] = {}

    def times(self, sentence: str) -> int:
        """Return how often it came since it passed last, this time included; 0: it does not pass now."""
        now = self._clock()
        with self._lock:
            self._untold[sentence] = self._untold.get(sentence, 0) + 1
            if now - self._said_at.get(sentence, float("-inf")) < self._every_s:
                return 0
            self._said_at[sentence] = now
            return self._untold.pop(sentence)


class Paced:
    """Says each sentence once in `every_s` seconds, with how many there were meanwhile. Safe to share among threads.

    A sentence is known by its words, not by what is filled in: there are as many as the code has.
    """

    def __init__(
        self, say: Callable[..., object], *, every_s: float = SAID_EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._pace = say, Pace(every_s, clock)

    def __call__(self, sentence: str, *filled_in: Any, **how: Any) -> bool:
        """Say it, as the methods of a logger do, or count it; return whether it was said."""
        times = self._pace.times(sentence)
        if times > 1:
            self._say(sentence + " (and %d more like it)", *filled_in, times - 1, **how)
        elif times:
            self._say(sentence, *filled_in, **how)
        return bool(times)
