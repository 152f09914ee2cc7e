"""Which connections a port has, by address, and which one has to go for one more.

No address is refused for what another one does, and none for being several machines behind one address: where there are too many,
the connection goes that has not got on for longest. One that asks and is answered gets on; one that sends half a head, or does
not read, does not.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from llmpt.core.networks import AddressGroups

T = TypeVar("T")
V = TypeVar("V")
_OWN, _OTHERS = b"own", b"others"
_EVERYBODY = (_OWN, _OTHERS)
_V4_BYTES, _PREFIX_BYTES = 4, 8
_NONE: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())


@dataclass(frozen=True, slots=True)
class VisitorLimits:
    """How many connections there may be at once.

    per_address: of one address
    per_neighbourhood: of all IPv6 addresses that one machine may take
    total: in all
    reserved: of these, only for the appliance's own
    """

    per_address: int = 256
    per_neighbourhood: int = 4096
    total: int = 16_384
    reserved: int = 1024

    def within(self, descriptors: int) -> VisitorLimits:
        """Return these limits for a process that may have so many descriptors: an eighth is left for what else it does."""
        total = max(2, min(self.total, descriptors - descriptors // 8))
        return replace(self, total=total, reserved=min(self.reserved, total // 8))


class Visitors(Generic[V]):
    """The connections of one port. Not for several threads."""

    def __init__(self, limits: VisitorLimits = VisitorLimits()) -> None:
        self._limits = limits
        self._crowds: dict[bytes, OrderedDict[V, None]] = {_OWN: OrderedDict(), _OTHERS: OrderedDict()}
        self._of: dict[V, tuple[bytes, ...]] = {}  # the crowds that each is of

    def __len__(self) -> int:
        return len(self._of)

    def enter(self, visitor: V, packed: bytes, *, is_own: bool = False, is_many: bool = False) -> Sequence[V]:
        """Take a connection in from an address, in packed form; return those that must go for it, and are forgotten already.

        is_own: it is one of the appliance's own
        is_many: behind the address are machines that cannot be told apart
        """
        limits, crowds = self._limits, self._crowds
        gone: list[V] = []
        names: tuple[bytes, ...] = (_OWN if is_own else _OTHERS,)
        if not is_many:
            names += (packed,) if len(packed) == _V4_BYTES else (packed, packed[:_PREFIX_BYTES])
            for name, most in zip(names[1:], (limits.per_address, limits.per_neighbourhood), strict=False):
                if name in crowds and len(crowds[name]) >= most:
                    gone.append(self._oldest(name))
        if len(self._of) >= limits.total or (not is_own and len(crowds[_OTHERS]) >= limits.total - limits.reserved):
            gone.append(self._oldest(_OTHERS if crowds[_OTHERS] else _OWN))
        for name in names:
            crowd = crowds.get(name)
            if crowd is None:
                crowd = crowds[name] = OrderedDict()
            crowd[visitor] = None
        self._of[visitor] = names
        return gone

    def got_on(self, visitor: V) -> None:
        """Note that a connection has asked and is answered, or takes what it is sent."""
        for name in self._of.get(visitor, ()):
            self._crowds[name].move_to_end(visitor)

    def leave(self, visitor: V) -> None:
        """Forget a connection; nothing when it is forgotten."""
        for name in self._of.pop(visitor, ()):
            crowd = self._crowds[name]
            del crowd[visitor]
            if not crowd and name not in _EVERYBODY:
                del self._crowds[name]

    def _oldest(self, name: bytes) -> V:
        visitor = next(iter(self._crowds[name]))
        self.leave(visitor)
        return visitor


def in_turn(waiting: Sequence[T], origin: Callable[[T], AddressGroups], *, for_s: float) -> Iterator[T]:
    """Yield those that wait as long as `for_s` lasts, one at least: those of a machine that has few first, of equals those of a
    neighbourhood and then of a site that has few, and of equals the earlier one."""
    origins = {one: origin(one) for one in waiting}
    machines, neighbourhoods, sites = (Counter(group) for group in zip(*origins.values(), strict=True)) if origins else _NONE
    counts = {one: (machines[a], neighbourhoods[b], sites[c]) for one, (a, b, c) in origins.items()}
    order = sorted(counts, key=counts.__getitem__)
    until = time.monotonic() + for_s  # from here on: of thousands the order takes longer than that
    for one in order:
        yield one
        if time.monotonic() >= until:
            return
