"""A limit that was reached: a line in the log, and one on the page for a while. Both seldom, however often it is reached."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from llmpt_tracker.control.client import Announcer
from llmpt_tracker.errors import AnnouncerUnavailable

log = logging.getLogger(__name__)

SAID_EVERY_S = 10.0


class Limits:
    """Tells of limits, each by a sentence that says what was reached and what its clients were told. Used by many threads."""

    def __init__(self, announcer: Announcer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._announcer, self._clock = announcer, clock
        self._lock = threading.Lock()
        self._untold: dict[str, int] = {}
        self._said_at: dict[str, float] = {}

    def reached(self, sentence: str) -> None:
        """Note that a limit was reached; never raises, and takes no time but once in a while."""
        now = self._clock()
        with self._lock:
            self._untold[sentence] = self._untold.get(sentence, 0) + 1
            if now - self._said_at.get(sentence, float("-inf")) < SAID_EVERY_S:
                return
            self._said_at[sentence] = now
            times = self._untold.pop(sentence)
        log.warning("%s (%d times)", sentence, times)
        try:
            self._announcer.note_limit(sentence, times=times)
        except AnnouncerUnavailable as error:
            log.warning("%s", error)
