"""What is written down once a minute rather than with each request: which tokens were used, and what happens often.

A flood costs memory for a bounded number of lines, and then as many rows a minute; what is beyond is counted in one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from llmpt_tracker.clock import Clock
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import DatabaseUnavailable
from llmpt_tracker.rules import audit, tokens
from llmpt_tracker.rules.audit import Actor

log = logging.getLogger(__name__)

EVERY_S = 60.0
LINES = 100
BEYOND = Actor(token="(others)")  # noqa: S106


class Notes:
    """Collects, and writes when a minute is over, beside the requests. Used by many threads; one for each process."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        every_s: float = EVERY_S,
        lines: int = LINES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._clock, self._monotonic = database, clock, monotonic
        self._every_s, self._lines = every_s, lines
        self._lock = threading.Lock()
        self._written = monotonic()
        self._used: set[int] = set()
        self._often: dict[tuple[str, Actor, str], int] = {}

    def used(self, token_id: int) -> None:
        """Note that a token was used."""
        with self._lock:
            self._used.add(token_id)
        self._write_when_due()

    def often(self, event: str, by: Actor, what: str) -> None:
        """Count something that may happen often: an event of the audit log, and what it was in a word."""
        with self._lock:
            key = (event, by, what)
            if key not in self._often and len(self._often) >= self._lines:
                key = (event, BEYOND, "")
            self._often[key] = self._often.get(key, 0) + 1
        self._write_when_due()

    def write(self) -> None:
        """Write all down now; what the database does not take is lost."""
        with self._lock:
            used, often, self._used, self._often = self._used, self._often, set(), {}
        if not used and not often:
            return
        now = self._clock()
        try:
            with self._database.writing() as session:
                tokens.used(session, used, now=now)
                for (event, by, what), times in often.items():
                    audit.note(session, event, by, now=now, times=times, what=what)
        except DatabaseUnavailable as error:
            log.warning("%d lines of the audit log are lost: %s", len(often), error)

    def _write_when_due(self) -> None:
        with self._lock:
            now = self._monotonic()
            if now - self._written < self._every_s:
                return
            self._written = now
        threading.Thread(target=self.write, name="notes", daemon=True).start()
