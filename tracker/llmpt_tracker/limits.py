"""A limit that was reached: a line in the log, and one on the page for a while. Both seldom, however often it is reached."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from llmpt.host.pacing import Pace
from llmpt_tracker.control.client import Announcer
from llmpt_tracker.errors import AnnouncerUnavailable

log = logging.getLogger(__name__)


class Limits:
    """Tells of limits, each by a sentence that says what was reached and what its clients were told. Used by many threads."""

    def __init__(self, announcer: Announcer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._announcer, self._pace = announcer, Pace(clock=clock)

    def reached(self, sentence: str) -> None:
        """Note that a limit was reached; never raises, and takes no time but once in a while."""
        times = self._pace.times(sentence)
        if not times:
            return
        log.warning("%s (%d times)", sentence, times)
        try:
            self._announcer.note_limit(sentence, times=times)
        except AnnouncerUnavailable as error:
            log.warning("%s", error)
