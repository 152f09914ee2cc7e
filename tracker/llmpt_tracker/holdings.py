"""The digest of what is here on a seeder's word, for the answer to its heartbeat.

It is counted, line by line, so that it changes with what the database has lost: that takes a while for 300,000 files. So no more
than a fiftieth of the time goes into it, and what was counted last is told meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from sqlalchemy.orm import Session

from llmpt_tracker.rules import holders

SHARE = 50
MAX_REMEMBERED = 1000


class HoldingsDigests:
    """What was counted last for each seeder. Used by many threads."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic, self._lock = monotonic, Lock()
        self._counted: dict[tuple[int, str], tuple[float, str]] = {}  # until when that stands, and the digest

    def forget(self) -> None:
        """Count anew when it is asked next."""
        with self._lock:
            self._counted.clear()

    def digest(self, session: Session, token_id: int, seeder_id: str) -> str:
        """Return the digest of what is here on the word of a seeder."""
        started, key = self._monotonic(), (token_id, seeder_id)
        with self._lock:
            until, digest = self._counted.get(key, (started, ""))
        if started < until:
            return digest
        digest = holders.told(session, holders.find(session, *key)).digest
        ended = self._monotonic()
        with self._lock:
            if len(self._counted) >= MAX_REMEMBERED:
                self._counted.clear()
            self._counted[key] = ended + SHARE * (ended - started), digest
        return digest
