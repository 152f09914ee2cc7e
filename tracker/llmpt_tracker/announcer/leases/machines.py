"""The machines that poll: all that were heard of lately, the one that was silent longest first. Bounded, also for each token."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator

from llmpt.core.blob import Etag
from llmpt.core.leases import Poll
from llmpt_tracker.announcer.leases.state import Machine
from llmpt_tracker.announcer.leases.terms import LeaseTerms
from llmpt_tracker.control.messages import Owner


class Machines:
    """Owns them, by key; `on_forgotten` is told of each that goes."""

    def __init__(self, terms: LeaseTerms, *, on_forgotten: Callable[[Machine], None]) -> None:
        self._terms, self._on_forgotten = terms, on_forgotten
        self._by_key: OrderedDict[str, Machine] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_key)

    def touch(self, poll: Poll, owner: Owner, now: float) -> Machine:
        """Return the machine that polls, a new one perhaps; then another one may have to go."""
        key = f"{owner.token}:{poll.machine}"
        machine = self._by_key.get(key)
        if machine is None:
            lives = [one for one in self._by_key.values() if one.token == owner.token]
            if len(lives) >= self._terms.max_lives:
                self._forget(lives[0])
            if len(self._by_key) >= self._terms.max_machines:
                self._forget(self._oldest())
            machine = self._by_key[key] = Machine(key, owner.token, owner.name, now, self._terms)
        self._by_key.move_to_end(key)
        machine.name = owner.name
        return machine

    def present(self, keys: Iterable[str], now: float) -> Iterator[Machine]:
        """Yield those of some machines that polled a moment ago."""
        return (one for key in keys if (one := self._by_key.get(key)) is not None and one.is_present(now))

    def wanted(self, now: float) -> Counter[Etag]:
        """Count how many machines that polled a moment ago want each etag."""
        return Counter(etag for machine in self._by_key.values() if machine.is_present(now) for etag in machine.wants)

    def prune(self, now: float) -> None:
        """Forget those that were silent for too long."""
        while self._by_key and self._oldest().polled_at < now - self._terms.forgotten_s:
            self._forget(self._oldest())

    def _oldest(self) -> Machine:
        return next(iter(self._by_key.values()))

    def _forget(self, machine: Machine) -> None:
        self._on_forgotten(machine)
        del self._by_key[machine.key]
