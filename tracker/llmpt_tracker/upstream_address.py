"""The upstream of this server, as its seeder's heartbeats tell it.

The announcer keeps the heartbeats, so that every process of the application knows the same. A tracker that has restarted
knows it again with the next heartbeat: at once, in every process, for "this server fetches nothing" ends a request for good.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from llmpt_tracker.control.client import Announcer
from llmpt_tracker.control.messages import SeederReport
from llmpt_tracker.errors import AnnouncerUnavailable

log = logging.getLogger(__name__)

ALIVE_S = 30.0
BELIEVED_S = 1.0


class UpstreamAddress:
    """Asks the announcer at most once in `BELIEVED_S` seconds, and at each call while no upstream is told.

    Many threads may use it.
    """

    def __init__(self, announcer: Announcer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._announcer, self._clock = announcer, clock
        self._asking = threading.Lock()
        self._asked_at = float("-inf")
        self._told: str | None = None

    def __call__(self) -> str | None:
        """Return the address of the Hub from which the seeder fetches; None while no seeder tells one."""
        if self._told is None:
            self._ask()
        elif self._clock() - self._asked_at >= BELIEVED_S and self._asking.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._asking.release()
        return self._told

    def _ask(self) -> None:
        try:
            self._told = told_by(self._announcer.seeders())
        except AnnouncerUnavailable as error:
            log.warning("%s", error)  # what was told last goes on to count
        self._asked_at = self._clock()


def told_by(seeders: Sequence[SeederReport]) -> str | None:
    """Return the upstream that the seeder heard last of tells; one that is silent counts only where all are."""
    alive = [seeder for seeder in seeders if seeder.age_s < ALIVE_S]
    told = [seeder for seeder in alive or seeders if isinstance(seeder.report.get("upstream"), str)]
    return min(told, key=lambda seeder: seeder.age_s).report["upstream"] if told else None
