"""A store of two replicas that share a Valkey: what is done is done at one, what is read is the other's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import redis

from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.store import Counts, Peer, PortVerdict, Role, SwarmStore
from llmpt_tracker.announcer.peers.wire import Endpoint
from llmpt_tracker.announcer.replicas.changes import Applying, Change, encode
from llmpt_tracker.announcer.replicas.shared_store import SharedStore


class Replicated(SharedStore):
    """The one at which things are done, in front of what is read: each change has arrived there when this returns.

    The stream is read as the announcer's own code writes it; only waiting for it is left out.
    """

    def __init__(self, url: str, make: Callable[[], SwarmStore]) -> None:
        self._there = make()
        super().__init__(make(), self._told, clock=lambda: 0.0)
        self._applying = Applying(self._there, Seeders())
        self._valkey = redis.Redis.from_url(url.replace("valkey", "redis", 1), decode_responses=True)
        self._valkey.delete("contract")

    def _told(self, change: Change) -> None:
        self._valkey.xadd("contract", {"changes": encode([change], now=change.at_s)})
        newest: Any = self._valkey.xrevrange("contract", count=1)
        fields: dict[str, str] = newest[0][1]
        self._applying.batch(fields["changes"].encode(), told_at=change.at_s, since=float("-inf"))

    def register(self, hashes: Iterable[bytes], *, completed: Mapping[bytes, int] = MappingProxyType({})) -> None:
        hashes = list(hashes)
        super().register(hashes, completed=completed)
        self._there.register(hashes, completed=completed)

    def unregister(self, hashes: Iterable[bytes]) -> None:
        hashes = list(hashes)
        super().unregister(hashes)
        self._there.unregister(hashes)

    def sweep(self, now: float, *, swarms: int) -> int:
        super().sweep(now, swarms=swarms)
        return self._there.sweep(now, swarms=swarms)

    def __contains__(self, info_hash: bytes) -> bool:
        return info_hash in self._there

    def __len__(self) -> int:
        return len(self._there)

    @property
    def peer_count(self) -> int:
        return self._there.peer_count

    @property
    def roles(self) -> Mapping[Role, int]:
        return self._there.roles

    def verdict(self, endpoint: Endpoint) -> PortVerdict | None:
        return self._there.verdict(endpoint)

    def newly_completed(self) -> dict[bytes, int]:
        return self._there.newly_completed()

    def counts(self, info_hash: bytes) -> Counts:
        return self._there.counts(info_hash)

    def plain(
        self, info_hash: bytes, role: Role, family: int, limit: int, *, exclude: Endpoint = b"", is_reachable: bool = True
    ) -> bytes:
        return self._there.plain(info_hash, role, family, limit, exclude=exclude, is_reachable=is_reachable)

    def tagged(self, info_hash: bytes) -> Sequence[Peer]:
        return self._there.tagged(info_hash)

    def peer(self, info_hash: bytes, endpoint: Endpoint) -> Peer | None:
        return self._there.peer(info_hash, endpoint)

    def all(self) -> Iterator[tuple[bytes, Peer]]:
        return self._there.all()
