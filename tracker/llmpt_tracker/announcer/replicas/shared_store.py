"""A store whose changes the other replicas are told: what they tell goes straight into the one behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from llmpt_tracker.announcer.peers.store import Claim, Counts, Peer, PortVerdict, Role, SwarmStore
from llmpt_tracker.announcer.peers.wire import Endpoint
from llmpt_tracker.announcer.replicas import changes
from llmpt_tracker.announcer.replicas.changes import Change


class SharedStore:
    """A `SwarmStore` in front of this replica's own, `here`. The closed list is told by those that change it: the catalogue,
    from which each replica loads it, is not news."""

    def __init__(self, here: SwarmStore, tell: Callable[[Change], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._here, self._tell, self._clock = here, tell, clock

    def register(self, hashes: Iterable[bytes], *, completed: Mapping[bytes, int] = MappingProxyType({})) -> None:
        self._here.register(hashes, completed=completed)

    def unregister(self, hashes: Iterable[bytes]) -> None:
        self._here.unregister(hashes)

    def __contains__(self, info_hash: bytes) -> bool:
        return info_hash in self._here

    def __len__(self) -> int:
        return len(self._here)

    @property
    def peer_count(self) -> int:
        return self._here.peer_count

    @property
    def roles(self) -> Mapping[Role, int]:
        return self._here.roles

    def put(
        self, info_hash: bytes, endpoint: Endpoint, role: Role, *, now: float, tag: str | None = None, owner: bytes = b""
    ) -> Role | None:
        before = self._here.put(info_hash, endpoint, role, now=now, tag=tag, owner=owner)
        self._tell(changes.put(info_hash, endpoint, role, now=now, tag=tag, owner=owner))
        return before

    def claim(self, info_hash: bytes, endpoint: Endpoint, claim: Claim | None, *, now: float) -> None:
        self._here.claim(info_hash, endpoint, claim, now=now)
        self._tell(changes.claimed(info_hash, endpoint, claim, now=now))

    def remove(self, info_hash: bytes, endpoint: Endpoint) -> Role | None:
        before = self._here.remove(info_hash, endpoint)
        if before is not None:
            self._tell(changes.removed(info_hash, endpoint, now=self._clock()))
        return before

    def mark(self, endpoint: Endpoint, *, is_reachable: bool, now: float) -> None:
        self._here.mark(endpoint, is_reachable=is_reachable, now=now)
        self._tell(changes.marked(endpoint, is_reachable=is_reachable, now=now))

    def verdict(self, endpoint: Endpoint) -> PortVerdict | None:
        return self._here.verdict(endpoint)

    def add_completed(self, info_hash: bytes) -> None:
        self._here.add_completed(info_hash)
        self._tell(changes.completed(info_hash, now=self._clock()))

    def newly_completed(self) -> dict[bytes, int]:
        return self._here.newly_completed()

    def counts(self, info_hash: bytes) -> Counts:
        return self._here.counts(info_hash)

    def plain(
        self, info_hash: bytes, role: Role, family: int, limit: int, *, exclude: Endpoint = b"", is_reachable: bool = True
    ) -> bytes:
        return self._here.plain(info_hash, role, family, limit, exclude=exclude, is_reachable=is_reachable)

    def tagged(self, info_hash: bytes) -> Sequence[Peer]:
        return self._here.tagged(info_hash)

    def peer(self, info_hash: bytes, endpoint: Endpoint) -> Peer | None:
        return self._here.peer(info_hash, endpoint)

    def all(self) -> Iterator[tuple[bytes, Peer]]:
        return self._here.all()

    def sweep(self, now: float, *, swarms: int) -> int:
        return self._here.sweep(now, swarms=swarms)
