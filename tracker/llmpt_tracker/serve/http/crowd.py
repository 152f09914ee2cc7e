"""All connections of one process, and which of them have to go when there are too many, or when they hold too much memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

from llmpt_tracker.serve.http.bounds import ConnectionBounds
from llmpt_tracker.serve.http.connection import Connection, Stage
from llmpt_tracker.serve.http.places import NEIGHBOURHOOD, SITE, Group, Guest, Places

FULL = "as many connections of one machine, or of all, are open as may be: others were closed, or told to come back (503)"
HEAVY = "requests and answers take as much memory as they may: the largest were given up"
NO_DESCRIPTOR = "no more connections can be taken: the limit of open files is reached"
ENDED_AT_ONCE = 32
TOLD_EVERY_S = 10.0
# Those that can be ended; what costs its client least comes first.
_ORDER = (Stage.ENDING, Stage.HANDSHAKE, Stage.IDLE, Stage.HEAD, Stage.PLACE, Stage.BODY, Stage.SENDING)
_DOES_NOTHING = (Stage.ENDING, Stage.HANDSHAKE, Stage.IDLE, Stage.HEAD)
_RANK = {stage: rank for rank, stage in enumerate(_ORDER)}


class Crowd:
    """The connections, and the places that they have. Used by one thread."""

    def __init__(self, bounds: ConnectionBounds) -> None:
        self._places = Places(bounds)
        self._connections: set[Connection] = set()
        self._told: dict[str, float] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._connections)

    def __len__(self) -> int:
        return len(self._connections)

    def has_place(self, guest: Guest) -> bool:
        """Say whether one more of this machine may come."""
        return not self._places.is_over(guest) and not self._places.is_full(guest)

    def enter(self, connection: Connection) -> None:
        """Count a connection."""
        self._connections.add(connection)
        self._places.enter(connection.guest)

    def leave(self, connection: Connection) -> None:
        """Count it no longer."""
        self._connections.discard(connection)
        self._places.leave(connection.guest)

    def in_favour_of(self, guest: Guest) -> list[Connection]:
        """Return connections to end, so that this machine has a place: of those that have more, else its own that do nothing."""
        largest = None if self._places.is_over(guest) else self._places.largest(guest)
        if largest is not None and largest not in enumerate(guest.origin):
            return self._of(largest)
        found = (one for one in self._of((NEIGHBOURHOOD, guest.origin.neighbourhood)) if one.stage in _DOES_NOTHING)
        return [one for one in found if one.guest.address == guest.address]

    def of_the_largest(self) -> list[Connection]:
        """Return connections to end, of those that have most."""
        return self._of(self._places.largest(None))

    def heaviest(self, held_bytes: int) -> list[Connection]:
        """Return connections to end, so that the rest holds no more than that: the heaviest of those that hold most."""
        held = {one: one.held_bytes for one in self._connections if one.stage in _RANK}
        over = sum(held.values()) - held_bytes
        if over <= 0:
            return []
        of_each: Counter[str] = Counter()
        for one, size in held.items():
            of_each[one.guest.origin.neighbourhood] += size
        found: list[Connection] = []
        for name, _ in of_each.most_common():
            for one in sorted((one for one in held if one.guest.origin.neighbourhood == name), key=lambda one: -held[one]):
                if over <= 0:
                    return found
                found.append(one)
                over -= held[one]
        return found

    def tell(self, sentence: str, say: Callable[[], object]) -> None:
        """Have a limit told, seldom, however often it is reached."""
        now = time.monotonic()
        if now - self._told.get(sentence, float("-inf")) >= TOLD_EVERY_S:
            self._told[sentence] = now
            say()

    def _of(self, group: Group | None) -> list[Connection]:
        level, name = group or (SITE, "")
        found = [one for one in self._connections if one.stage in _RANK and one.guest.origin[level] == name]
        return sorted(found, key=lambda one: (_RANK[one.stage], one.deadline))[:ENDED_AT_ONCE]
