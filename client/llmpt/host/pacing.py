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


class Paced:
    """Says each sentence once in `every_s` seconds, with how many there were meanwhile. Safe to share among threads.

    A sentence is known by its words, not by what is filled in: there are as many as the code has.
    """

    def __init__(
        self, say: Callable[..., object], *, every_s: float = SAID_EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._every_s, self._clock = say, every_s, clock
        self._lock = threading.Lock()
        self._untold: dict[str, int] = {}
        self._said_at: dict[str, float] = {}

    def __call__(self, sentence: str, *filled_in: Any, **how: Any) -> bool:
        """Say it, as the methods of a logger do, or count it; return whether it was said."""
        now = self._clock()
        with self._lock:
            untold = self._untold.get(sentence, 0)
            if now - self._said_at.get(sentence, float("-inf")) < self._every_s:
                self._untold[sentence] = untold + 1
                return False
            self._said_at[sentence] = now
            self._untold[sentence] = 0
        if untold:
            self._say(sentence + " (and %d more like it)", *filled_in, untold, **how)
        else:
            self._say(sentence, *filled_in, **how)
        return True
