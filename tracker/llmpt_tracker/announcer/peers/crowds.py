"""Who goes when the store is full: the peers of the address that has most of them, the longest silent first.

So one machine, however many addresses below one prefix it takes, displaces its own peers before those of others. Our seeders'
peers do not count, and never go.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from llmpt_tracker.announcer.peers.slots import AddressPeers
from llmpt_tracker.announcer.peers.wire import V6_BYTES, V6_PREFIX_BYTES, Endpoint

GO_AT_ONCE = 500  # so that the most crowded address is not looked for at each announce
_FEW = 8  # where no address has more than that, one goes of each that has as many, those that came first

Found = list[tuple[bytes, Endpoint]]


class Crowds:
    """The addresses with their peers: all, and by IPv6 prefix."""

    def __init__(self) -> None:
        self._all: dict[bytes, AddressPeers] = {}
        self._below: dict[bytes, dict[bytes, AddressPeers]] = {}
        self._totals: dict[bytes, int] = {}

    def add(self, packed: bytes, peers: AddressPeers) -> None:
        """Take note of an address that has its first peer."""
        self._all[packed] = peers
        if len(packed) + 2 == V6_BYTES:
            self._below.setdefault(packed[:V6_PREFIX_BYTES], {})[packed] = peers

    def drop(self, packed: bytes) -> None:
        """Forget an address that has no peer any more."""
        del self._all[packed]
        if len(packed) + 2 == V6_BYTES:
            prefix = packed[:V6_PREFIX_BYTES]
            del self._below[prefix][packed]
            if not self._below[prefix]:
                del self._below[prefix]
                self._totals.pop(prefix, None)

    def count(self, packed: bytes, change: int) -> None:
        """Note that an address has so many peers more."""
        if len(packed) + 2 == V6_BYTES:
            prefix = packed[:V6_PREFIX_BYTES]
            self._totals[prefix] = self._totals.get(prefix, 0) + change

    def total_beside(self, packed: bytes) -> int:
        """Return how many peers all addresses of an IPv6 address's prefix have; 0 for IPv4."""
        return self._totals.get(packed[:V6_PREFIX_BYTES], 0) if len(packed) + 2 == V6_BYTES else 0

    def beside(self, packed: bytes) -> Found:
        """Choose the peers that go from an address's prefix."""
        return _chosen(self._below[packed[:V6_PREFIX_BYTES]])

    def anywhere(self) -> Found:
        """Choose the peers that go from all."""
        return _chosen(self._all)


def _chosen(addresses: dict[bytes, AddressPeers]) -> Found:
    most = max(addresses.values(), key=lambda peers: peers.total)
    if most.total > _FEW:
        return list(islice(_peers(most), min(GO_AT_ONCE, most.total // 2)))
    crowded = (peers for peers in addresses.values() if peers.total == most.total)
    return [next(_peers(peers)) for peers in islice(crowded, GO_AT_ONCE)]


def _peers(peers: AddressPeers) -> Iterator[tuple[bytes, Endpoint]]:
    return ((info_hash, endpoint) for info_hash, endpoints in peers.swarms.items() for endpoint in endpoints)
