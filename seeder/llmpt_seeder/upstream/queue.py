"""The queue of mirrors, as the seeder sees it: what it has taken of it, and what it says of that to the tracker."""

from __future__ import annotations

import enum
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from llmpt.core.errors import TrackerError, TrackerRefused
from llmpt.core.mirrors import OPEN, Mirror, MirrorReport, MirrorState
from llmpt.core.orders import MirrorOrders

log = logging.getLogger("llmpt.seeder")

OVER = (404, 409)  # there is no such mirror any more; it was cancelled
MAX_TAKEN = 400  # mirrors of files: more than are fetched in the ten seconds to the next look


class MirrorTracker(Protocol):
    """The calls of `llmpt.tracker.client.TrackerClient` that are used here."""

    def mirrors(self, states: Collection[MirrorState] = ()) -> list[Mirror]: ...

    def mirror_orders(self) -> MirrorOrders: ...

    def report_mirror(self, mirror_id: int, report: MirrorReport) -> None: ...


class Hearing(enum.Enum):
    """What the tracker makes of a report. `OVER`: it wants no more of them, for the mirror was cancelled, or is not there."""

    HEARD = "heard"
    AWAY = "away"
    OVER = "over"


class MirrorQueue:
    """Knows which mirrors are taken. Its methods may be called from any thread.

    `read` yields what is open in the order in which it is taken, and reads no more of a long queue than is asked of it; without
    one the tracker tells all. At most `most` mirrors of files are taken at a time, and of one asker half as many: a queue of any
    length costs as much as they.
    """

    def __init__(
        self,
        connect: Callable[[], MirrorTracker],
        *,
        read: Callable[[], Iterable[Mirror]] | None = None,
        most: int = MAX_TAKEN,
    ) -> None:
        self._connect, self._read, self._most = connect, read or self._read_all, most
        self._lock = threading.Lock()
        self._taken: dict[int, str | None] = {}  # who asked first for the files that it wants; None: it wants none
        self._has_more = False

    def take(self) -> list[Mirror]:
        """Take what is open and not taken yet, listings first: a client waits for those. Nothing while the tracker is away."""
        new: list[Mirror] = []
        room, has_more, passed = self._room(), False, 0
        with self._lock:
            held = Counter(asker for asker in self._taken.values() if asker)
        try:
            for mirror in self._read():
                if has_more := not mirror.ask.is_listing and (room <= 0 or passed > self._most):
                    break
                if mirror.id in self._taken:
                    continue
                if not mirror.ask.is_listing:
                    asker = _asker(mirror)
                    if asker and held[asker] >= (self._most + 1) // 2:  # the rest is for others
                        passed += 1
                        continue
                    held[asker] += 1
                    room -= 1
                new.append(mirror)
        except TrackerError as error:
            log.debug("the queue cannot be read: %s", error)
        with self._lock:
            self._taken.update((mirror.id, None if mirror.ask.is_listing else _asker(mirror)) for mirror in new)
            self._has_more = has_more or bool(passed)
        return new

    @property
    def wants_more(self) -> bool:
        """Whether there is more in the queue than was taken, and room for it by now."""
        return self._has_more and self._room() >= (self._most + 1) // 2

    def _room(self) -> int:
        with self._lock:
            return self._most - sum(asker is not None for asker in self._taken.values())

    def _read_all(self) -> Iterable[Mirror]:
        return sorted(self._connect().mirrors(OPEN), key=lambda mirror: (not mirror.ask.is_listing, mirror.id))

    def orders(self) -> MirrorOrders | None:
        """Return what an operator has said; None while the tracker is away."""
        try:
            return self._connect().mirror_orders()
        except TrackerError as error:
            log.debug("an operator's orders cannot be read: %s", error)
            return None

    def report(self, mirror: Mirror, said: MirrorReport) -> Hearing:
        """Tell the tracker how a mirror is."""
        try:
            self._connect().report_mirror(mirror.id, said)
        except TrackerError as error:
            log.info("the tracker was not told of mirror %d: %s", mirror.id, error)
            if isinstance(error, TrackerRefused):
                return Hearing.OVER if error.status in OVER else Hearing.HEARD
            return Hearing.AWAY
        return Hearing.HEARD

    def end(self, mirror: Mirror, said: MirrorReport) -> None:
        """Report for the last time. When the tracker is away the mirror stays open there, and is taken again."""
        self.report(mirror, said)
        self.let_go(mirror)

    def let_go(self, mirror: Mirror) -> None:
        """Take it again, if it is still open then."""
        with self._lock:
            self._taken.pop(mirror.id, None)

    @property
    def taken(self) -> frozenset[int]:
        """The numbers of those that are taken."""
        with self._lock:
            return frozenset(self._taken)


def _asker(mirror: Mirror) -> str:
    """Return who asked first; nothing where the tracker does not say."""
    return mirror.askers[0] if mirror.askers else ""
