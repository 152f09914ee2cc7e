"""Whose request a thread answers next: of many machines, each in its turn, and of one machine one at a time.

Threads of one process take turns at the interpreter: each that computes makes all others wait at their every step, the event loop
among them. So few requests are answered at once, and one machine that sends many delays its own. A request that only waits steps
aside, and others take its place.

One machine may have all addresses of an IPv6 /64, and be given a whole /48. So sites take turns, in each its neighbourhoods, and
in those the machines; each has a bound of its own.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from functools import lru_cache
from typing import Generic, TypeVar

from llmpt.core.networks import AddressGroups, parse_address

T = TypeVar("T")

OWN = "the appliance's own"  # it has its turn whatever the others do
AT_ONCE = 16
OF_OWN = 2
OF_SITE = 3
OF_NEIGHBOURHOOD = 2
OF_EACH = 1


@lru_cache(maxsize=8192)
def groups_of(machine: str) -> tuple[str, ...]:
    """Return the groups that a machine is in, the largest first."""
    try:
        origin = AddressGroups.of(parse_address(machine))._replace(machine=machine)
    except ValueError:
        origin = AddressGroups.named(machine)
    return origin[::-1]


class _Group(Generic[T]):
    """The requests of one group of machines that are ready, and its smaller groups, the next to take its turn first."""

    __slots__ = ("groups", "requests")

    def __init__(self) -> None:
        self.groups: OrderedDict[str, _Group[T]] = OrderedDict()
        self.requests: deque[T] = deque()


class Turns(Generic[T]):
    """The requests that are ready, by machine. Used by one thread.

    Of one site, neighbourhood and machine as many are answered at once as `of_each` says.
    """

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        of_each: tuple[int, int, int] = (OF_SITE, OF_NEIGHBOURHOOD, OF_EACH),
    ) -> None:
        self._at_once, self._of_each = at_once, of_each
        self._ready: _Group[T] = _Group()
        self._running: Counter[tuple[int, str]] = Counter()  # by level and name
        self._count = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is running."""
        return not self._count

    def add(self, machine: str, request: T) -> None:
        """Have a request wait for its turn."""
        group = self._ready
        for name in groups_of(machine):
            group = group.groups.setdefault(name, _Group())
        group.requests.append(request)

    def take(self) -> T | None:
        """Return the request whose turn it is, and count it as running; None: there is none, or as many run as may."""
        if self._count < self._at_once:
            return self._taken(self._ready, 0)
        return self._taken(self._ready, 0, (OWN,)) if OWN in self._ready.groups else None

    def begin(self, machine: str) -> None:
        """Count a request as running, which may be more than should: it was here before."""
        self._count += 1
        for level in enumerate(groups_of(machine)):
            self._running[level] += 1

    def end(self, machine: str) -> None:
        """A request is answered, or has stepped aside."""
        self._count -= 1
        for level in enumerate(groups_of(machine)):
            self._running[level] -= 1
            if not self._running[level]:
                del self._running[level]

    def _taken(self, group: _Group[T], level: int, names: tuple[str, ...] = ()) -> T | None:
        for name in names or group.groups:
            if self._running[level, name] >= (OF_OWN if name == OWN else self._of_each[level]):
                continue
            below = group.groups[name]
            request = self._next_of(below, level, name)
            if request is None:
                continue
            if below.groups or below.requests:
                group.groups.move_to_end(name)
            else:
                del group.groups[name]
            return request
        return None

    def _next_of(self, group: _Group[T], level: int, name: str) -> T | None:
        if group.groups:
            return self._taken(group, level + 1)
        self.begin(name)
        return group.requests.popleft()
