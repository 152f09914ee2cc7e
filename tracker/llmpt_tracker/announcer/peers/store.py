"""Where peers are kept: the interface, with the values that cross it.

A *plain* peer is the same to every asker: its endpoint is handed out as it is, in bulk. A *tagged* peer is handed out one at
a time by rule (visibility.py): one of our seeders, tagged with its announce key, or a peer on loopback, tagged with nothing.
An endpoint that was tried in vain is *unreachable*: its peers are told of last.
Every implementation passes tests/contract/test_swarm_store.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from llmpt_tracker.announcer.peers.wire import INTERVAL_S, V4_BYTES, V6_BYTES, Endpoint

LOOPBACK_TAG = ""
FAMILIES = (V4_BYTES, V6_BYTES)  # a family is named by the size of its compact endpoints


class Role(IntEnum):
    """What a peer is in a swarm. `PAUSED` has not everything and wants no more (BEP 21)."""

    SEEDER = 0
    LEECHER = 1
    PAUSED = 2


class PortVerdict(NamedTuple):
    """Whether a connection to an endpoint came to be when it was tried, and when that was."""

    is_reachable: bool
    at_s: float


class Claim(NamedTuple):
    """Another one says that it is at an endpoint: it is there when the owner has gone, and then has this role."""

    owner: bytes
    role: Role


class Peer(NamedTuple):
    """One peer as the store tells it; `tag` is None for a plain one. Reachable is who was not tried in vain.

    `owner` is who has entered it: a peer id, and behind it what only trackers are told; `owned_s` is when it announced last.
    """

    endpoint: Endpoint
    role: Role
    tag: str | None
    owner: bytes
    is_reachable: bool = True
    owned_s: float = 0.0
    claim: Claim | None = None


class Counts(NamedTuple):
    """How many plain peers a swarm has in each role, how often it was downloaded to the end, and how many of the peers
    are unreachable."""

    seeders: int = 0
    leechers: int = 0
    paused: int = 0
    completed: int = 0
    unreachable: int = 0


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What one client may make the store hold; over a limit the peer that was silent longest goes, but never one of our seeders
    for a peer without a key: those of an address are not about our seeders at all."""

    peer_ttl_s: float = 2 * INTERVAL_S + 60
    per_address_and_swarm: int = 8
    per_address: int = 20_000
    per_swarm: int = 50_000
    tagged_per_swarm: int = 64
    per_neighbourhood: int = 100_000
    total: int = 300_000


class SwarmStore(Protocol):
    """The closed list of torrents, and the peers of each. Info-hashes are the 20 bytes of BEP 52; times are seconds."""

    def register(self, hashes: Iterable[bytes], *, completed: Mapping[bytes, int] = MappingProxyType({})) -> None:
        """Put torrents on the list, with how often they were downloaded before; those that are on it stay as they are."""

    def unregister(self, hashes: Iterable[bytes]) -> None:
        """Take torrents off the list, with their peers."""

    def __contains__(self, info_hash: bytes, /) -> bool:
        """Say whether a torrent is on the list."""

    def __len__(self) -> int:
        """Return how many torrents are on the list."""

    @property
    def peer_count(self) -> int:
        """How many peers there are in all swarms."""

    @property
    def roles(self) -> Mapping[Role, int]:
        """How many of all peers are in each role."""

    def put(
        self, info_hash: bytes, endpoint: Endpoint, role: Role, *, now: float, tag: str | None = None, owner: bytes = b""
    ) -> Role | None:
        """Record a peer of a listed torrent as alive, and as `owner`'s, unless there is no room for it; return the role it had,
        or None when it was unknown."""

    def claim(self, info_hash: bytes, endpoint: Endpoint, claim: Claim | None, *, now: float) -> None:
        """Note that another one says that it is at the endpoint of a known peer, which is alive then; or, with None, no more."""

    def remove(self, info_hash: bytes, endpoint: Endpoint) -> Role | None:
        """Forget a peer; return the role it had, or None when it was unknown."""

    def mark(self, endpoint: Endpoint, *, is_reachable: bool, now: float) -> None:
        """Note whether an endpoint can be reached, for all its peers; nothing when it has none (any more)."""

    def verdict(self, endpoint: Endpoint) -> PortVerdict | None:
        """Return what was noted of an endpoint; None when nothing was. It is forgotten with the address's last peer."""

    def add_completed(self, info_hash: bytes) -> None:
        """Count one download that reached its end."""

    def newly_completed(self) -> dict[bytes, int]:
        """Return how often those torrents were downloaded of which that has changed since this was asked last."""

    def counts(self, info_hash: bytes) -> Counts:
        """Count the plain peers; zeros for a torrent that is not listed."""

    def plain(
        self, info_hash: bytes, role: Role, family: int, limit: int, *, exclude: Endpoint = b"", is_reachable: bool = True
    ) -> bytes:
        """Return up to `limit` plain endpoints of a role and family, compact, from a random place, without `exclude`: those
        that are reachable, or those that are not."""

    def tagged(self, info_hash: bytes) -> Sequence[Peer]:
        """Return the tagged peers, the one that was silent longest first."""

    def peer(self, info_hash: bytes, endpoint: Endpoint) -> Peer | None:
        """Return what is known of one peer."""

    def all(self) -> Iterator[tuple[bytes, Peer]]:
        """Yield every peer with its torrent, those that were silent longest first in each. The store may not change meanwhile."""

    def sweep(self, now: float, *, swarms: int) -> int:
        """Look at the next `swarms` swarms and drop the peers that were silent for the TTL; return how many were dropped."""
