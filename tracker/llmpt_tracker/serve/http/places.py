"""How many connections there may be: in all, of one machine, and of the machines below one IPv6 prefix.

One address may be many honest machines (a NAT, an engine that hides its clients), so it may have most of the places, as long
as no other address wants them: where all are taken, a newcomer of another neighbourhood gets a place of the neighbourhood
that has most, or, where none has many, of the site. The last places are kept for the appliance's own, whatever the others do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from llmpt.core.networks import Address, AddressGroups
from llmpt_tracker.serve.http.bounds import ConnectionBounds

Group = tuple[int, str]  # its place in an origin, and its name
NEIGHBOURHOOD, SITE = 1, 2


@dataclass(frozen=True, slots=True)
class Guest:
    """Where a connection comes from.

    origin: the groups that it is counted in
    is_own: whether it is the appliance's own
    is_many: whether it is a proxy that many machines come through
    """

    origin: AddressGroups
    is_own: bool = False
    is_many: bool = False

    @property
    def address(self) -> str:
        """As text; what is counted for one machine."""
        return self.origin.machine

    @classmethod
    def of(cls, address: Address, *, is_own: bool = False, is_many: bool = False) -> Guest:
        return cls(AddressGroups.of(address), is_own, is_many)


OUTSIDE = Guest(AddressGroups.named("outside"))


class Places:
    """Counts connections. Used by one thread."""

    def __init__(self, bounds: ConnectionBounds = ConnectionBounds()) -> None:
        self.bounds = bounds
        self.count = 0
        self._of: Counter[Group] = Counter()

    def is_over(self, guest: Guest) -> bool:
        """Say whether this machine has as many connections as one may have."""
        of_address, of_neighbourhood, _ = self._counts(guest)
        if guest is OUTSIDE:
            return of_address >= self.bounds.outside
        if guest.is_many:
            return False
        return of_address >= self.bounds.of_address or of_neighbourhood >= self.bounds.of_neighbourhood

    def is_full(self, guest: Guest) -> bool:
        """Say whether all places that this guest may have are taken."""
        return self.count >= self.bounds.in_all - (0 if guest.is_own else self.bounds.own)

    def largest(self, guest: Guest | None) -> Group | None:
        """Return the neighbourhood that has most places, and more than this guest's; else such a site; None: there is none."""
        for level in (NEIGHBOURHOOD, SITE):
            group, most = max(((one, count) for one, count in self._of.items() if one[0] == level), key=_size, default=(None, 0))
            its = 0 if guest is None or guest.is_own else self._of[level, guest.origin[level]]
            if group is not None and most > its + 1:
                return group
        return None

    def enter(self, guest: Guest) -> None:
        """Take a place."""
        self._add(guest, 1)

    def leave(self, guest: Guest) -> None:
        """Give a place back."""
        self._add(guest, -1)

    def _counts(self, guest: Guest) -> list[int]:
        return [self._of[group] for group in enumerate(guest.origin)]

    def _add(self, guest: Guest, step: int) -> None:
        self.count += step
        for group in enumerate(guest.origin):
            self._of[group] += step
            if not self._of[group]:
                del self._of[group]


def _size(counted: tuple[Group, int]) -> int:
    return counted[1]
