"""The queue of mirrors, as the seeder sees it: what it has taken of it, and what it says of that to the tracker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from typing import Protocol

from llmpt.core.errors import TrackerError, TrackerRefused
from llmpt.core.mirrors import OPEN, Mirror, MirrorReport, MirrorState

log = logging.getLogger("llmpt.seeder")


class MirrorTracker(Protocol):
    """The calls of `llmpt.tracker.client.TrackerClient` that are used here."""

    def mirrors(self, states: Collection[MirrorState] = ()) -> list[Mirror]: ...

    def report_mirror(self, mirror_id: int, report: MirrorReport) -> None: ...


class MirrorQueue:
    """Knows which mirrors are taken. Its methods may be called from any thread."""

    def __init__(self, connect: Callable[[], MirrorTracker]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._taken: set[int] = set()

    def take(self) -> list[Mirror]:
        """Take what is open and not taken yet, listings first: a client waits for those. Nothing while the tracker is away."""
        try:
            told = self._connect().mirrors(OPEN)
        except TrackerError as error:
            log.debug("the queue cannot be read: %s", error)
            return []
        with self._lock:
            new = [mirror for mirror in told if mirror.id not in self._taken]
            self._taken.update(mirror.id for mirror in new)
        return sorted(new, key=lambda mirror: (not mirror.ask.is_listing, mirror.id))

    def report(self, mirror: Mirror, said: MirrorReport) -> bool:
        """Tell the tracker how a mirror is; return whether it has answered."""
        try:
            self._connect().report_mirror(mirror.id, said)
        except TrackerError as error:
            log.info("the tracker was not told of mirror %d: %s", mirror.id, error)
            return isinstance(error, TrackerRefused)
        return True

    def end(self, mirror: Mirror, said: MirrorReport) -> None:
        """Report for the last time. When the tracker is away the mirror stays open there, and is taken again."""
        self.report(mirror, said)
        self.let_go(mirror)

    def let_go(self, mirror: Mirror) -> None:
        """Take it again, if it is still open then."""
        with self._lock:
            self._taken.discard(mirror.id)

    @property
    def taken(self) -> frozenset[int]:
        """The numbers of those that are taken."""
        with self._lock:
            return frozenset(self._taken)
