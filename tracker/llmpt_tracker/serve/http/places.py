"""How many connections there may be: in all, of one machine, and of the machines below one IPv6 prefix.

One address may be many honest machines (a NAT, an engine that hides its clients), so it may have most of the places, as long
as no other address wants them: where all are taken, a newcomer of another neighbourhood gets a place of the neighbourhood
that has most. The last places are kept for the appliance's own, whatever the others do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from llmpt.core.networks import Address, neighbourhood
from llmpt_tracker.serve.http.bounds import ConnectionBounds


@dataclass(frozen=True, slots=True)
class Guest:
    """Where a connection comes from.

    address: as text; what is counted for one machine
    neighbourhood: as `llmpt.core.networks.neighbourhood` says
    is_own: whether it is the appliance's own
    is_many: whether it is a proxy that many machines come through
    """

    address: str
    neighbourhood: str
    is_own: bool = False
    is_many: bool = False

    @property
    def origin(self) -> tuple[str, str]:
        """Where it comes from, the machine and its neighbourhood."""
        return self.address, self.neighbourhood

    @classmethod
    def of(cls, address: Address, *, is_own: bool = False, is_many: bool = False) -> Guest:
        return cls(str(address), neighbourhood(address), is_own, is_many)


OUTSIDE = Guest("outside", "outside")


class Places:
    """Counts connections. Used by one thread."""

    def __init__(self, bounds: ConnectionBounds = ConnectionBounds()) -> None:
        self.bounds = bounds
        self.count = 0
        self._addresses: Counter[str] = Counter()
        self._neighbourhoods: Counter[str] = Counter()

    def is_over(self, guest: Guest) -> bool:
        """Say whether this machine has as many connections as one may have."""
        if guest is OUTSIDE:
            return self._addresses[guest.address] >= self.bounds.outside
        if guest.is_many:
            return False
        of_each = self._addresses[guest.address] >= self.bounds.of_address
        return of_each or self._neighbourhoods[guest.neighbourhood] >= self.bounds.of_neighbourhood

    def is_full(self, guest: Guest) -> bool:
        """Say whether all places that this guest may have are taken."""
        return self.count >= self.bounds.in_all - (0 if guest.is_own else self.bounds.own)

    def largest(self, guest: Guest | None) -> str | None:
        """Return the neighbourhood that has most places, and more than this guest's; None: there is none."""
        if not self._neighbourhoods:
            return None
        name, most = max(self._neighbourhoods.items(), key=lambda item: item[1])
        is_more = guest is None or guest.is_own or most > self._neighbourhoods[guest.neighbourhood] + 1
        return name if is_more else None

    def enter(self, guest: Guest) -> None:
        """Take a place."""
        self._add(guest, 1)

    def leave(self, guest: Guest) -> None:
        """Give a place back."""
        self._add(guest, -1)

    def _add(self, guest: Guest, step: int) -> None:
        self.count += step
        for counter, key in ((self._addresses, guest.address), (self._neighbourhoods, guest.neighbourhood)):
            counter[key] += step
            if not counter[key]:
                del counter[key]
