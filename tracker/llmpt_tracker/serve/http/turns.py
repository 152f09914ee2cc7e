"""Whose request a thread answers next: of many machines, each in its turn, and of one machine a few at a time.

Threads of one process take turns at the interpreter: with as many as would like to, none gets on. So few requests are answered at
once, and one machine that sends many delays its own. A request that only waits steps aside, and others take its place.

One machine may have all addresses of an IPv6 /64, so neighbourhoods take turns, and within each the machines.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

from llmpt.core.networks import neighbourhood, parse_address

T = TypeVar("T")

OWN = "the appliance's own"  # it has its turn whatever the others do
AT_ONCE = 16
OF_EACH = 2  # each thread that computes makes another one wait for the interpreter at its every step
OF_NEIGHBOURHOOD = 3


@lru_cache(maxsize=8192)
def neighbourhood_of(machine: str) -> str:
    """Return the neighbourhood of a machine that is named by its address; another name is one of its own."""
    return neighbourhood(parse_address(machine)) if ":" in machine else machine


class Turns(Generic[T]):
    """The requests that are ready, by machine. Used by one thread."""

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        of_each: int = OF_EACH,
        of_neighbourhood: int = OF_NEIGHBOURHOOD,
        neighbourhood_of: Callable[[str], str] = neighbourhood_of,
    ) -> None:
        self._at_once, self._of_each, self._of_neighbourhood = at_once, of_each, of_neighbourhood
        self._neighbourhood_of = neighbourhood_of
        self._ready: OrderedDict[str, OrderedDict[str, deque[T]]] = OrderedDict()  # by neighbourhood, by machine
        self._running: Counter[str] = Counter()  # by machine
        self._nearby: Counter[str] = Counter()  # the same by neighbourhood
        self._count = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is running."""
        return not self._count

    def add(self, machine: str, request: T) -> None:
        """Have a request wait for its turn."""
        near = self._ready.setdefault(self._neighbourhood_of(machine), OrderedDict())
        near.setdefault(machine, deque()).append(request)

    def take(self) -> T | None:
        """Return the request whose turn it is, and count it as running; None: there is none, or as many run as may."""
        is_full = self._count >= self._at_once
        for name in (OWN,) if is_full else self._ready:
            if name in self._ready and (name is OWN or self._nearby[name] < self._of_neighbourhood):
                machine = next((one for one in self._ready[name] if self._running[one] < self._of_each), None)
                if machine is not None:
                    return self._take(name, machine)
        return None

    def begin(self, machine: str) -> None:
        """Count a request as running, which may be more than should: it was here before."""
        self._running[machine] += 1
        self._nearby[self._neighbourhood_of(machine)] += 1
        self._count += 1

    def end(self, machine: str) -> None:
        """A request is answered, or has stepped aside."""
        self._count -= 1
        for counter, name in ((self._running, machine), (self._nearby, self._neighbourhood_of(machine))):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    def _take(self, name: str, machine: str) -> T:
        near = self._ready[name]
        request = near[machine].popleft()
        if near[machine]:
            near.move_to_end(machine)
        else:
            del near[machine]
        if near:
            self._ready.move_to_end(name)
        else:
            del self._ready[name]
        self.begin(machine)
        return request
