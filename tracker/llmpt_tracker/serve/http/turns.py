"""Whose request a thread answers next: of many machines, each in its turn, and of one machine a few at a time.

Threads of one process take turns at the interpreter: with as many as would like to, none gets on. So few requests are answered at
once, and one machine that sends many delays its own. A request that only waits steps aside, and others take its place.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")

OWN = "the appliance's own"  # it has its turn whatever the others do
AT_ONCE = 16
OF_EACH = 2  # each thread that computes makes another one wait for the interpreter at its every step


class Turns(Generic[T]):
    """The requests that are ready, by machine. Used by one thread."""

    def __init__(self, *, at_once: int = AT_ONCE, of_each: int = OF_EACH) -> None:
        self._at_once, self._of_each = at_once, of_each
        self._ready: OrderedDict[str, deque[T]] = OrderedDict()
        self._running: dict[str, int] = {}
        self._count = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is running."""
        return not self._count

    def add(self, machine: str, request: T) -> None:
        """Have a request wait for its turn."""
        self._ready.setdefault(machine, deque()).append(request)

    def take(self) -> T | None:
        """Return the request whose turn it is, and count it as running; None: there is none, or as many run as may."""
        is_full = self._count >= self._at_once
        if is_full and OWN not in self._ready:
            return None
        for machine, requests in self._ready.items():
            if self._running.get(machine, 0) < self._of_each and (machine is OWN or not is_full):
                request = requests.popleft()
                if requests:
                    self._ready.move_to_end(machine)
                else:
                    del self._ready[machine]
                self.begin(machine)
                return request
        return None

    def begin(self, machine: str) -> None:
        """Count a request as running, which may be more than should: it was here before."""
        self._running[machine] = self._running.get(machine, 0) + 1
        self._count += 1

    def end(self, machine: str) -> None:
        """A request is answered, or has stepped aside."""
        self._count -= 1
        left = self._running[machine] - 1
        if left:
            self._running[machine] = left
        else:
            del self._running[machine]
