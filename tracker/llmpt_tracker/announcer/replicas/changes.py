"""What changes in one replica and is told to the others: peers, the closed list, heartbeats. As values, and as JSON.

A change goes as `[kind, age in ms, …]`: the clocks of two machines are not the same, ages are. Bytes go in hex.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from llmpt.core.documents import read_json
from llmpt.core.networks import Address, parse_address
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.store import Claim, Role, SwarmStore
from llmpt_tracker.announcer.peers.wire import Endpoint
from llmpt_tracker.announcer.replicas.valkey import MOST_BYTES

log = logging.getLogger(__name__)


class Change(NamedTuple):
    """Something that changed here at that moment, by this process's clock."""

    kind: str
    at_s: float
    arguments: tuple[Any, ...]


def put(info_hash: bytes, endpoint: Endpoint, role: Role, *, now: float, tag: str | None, owner: bytes) -> Change:
    """A peer is alive."""
    return Change("put", now, (info_hash.hex(), endpoint.hex(), int(role), tag, owner.hex()))


def claimed(info_hash: bytes, endpoint: Endpoint, claim: Claim | None, *, now: float) -> Change:
    """Another one says that it is at a peer's endpoint, or no more."""
    said = (claim.owner.hex(), int(claim.role)) if claim is not None else None
    return Change("claim", now, (info_hash.hex(), endpoint.hex(), said))


def removed(info_hash: bytes, endpoint: Endpoint, *, now: float) -> Change:
    """A peer is gone."""
    return Change("remove", now, (info_hash.hex(), endpoint.hex()))


def marked(endpoint: Endpoint, *, is_reachable: bool, now: float) -> Change:
    """An endpoint was tried."""
    return Change("mark", now, (endpoint.hex(), is_reachable))


def completed(info_hash: bytes, *, now: float) -> Change:
    """A download has reached its end."""
    return Change("completed", now, (info_hash.hex(),))


def listed(hashes: Iterable[bytes], *, now: float) -> Change:
    """Torrents are on the closed list."""
    return Change("list", now, ([one.hex() for one in hashes],))


def unlisted(hashes: Iterable[bytes], *, now: float) -> Change:
    """Torrents are on it no longer."""
    return Change("unlist", now, ([one.hex() for one in hashes],))


def beat(seeder: str, *, key: str, report: Mapping[str, Any], address: Address | None, now: float) -> Change:
    """A seeder lives."""
    return Change("beat", now, (seeder, key, dict(report), str(address) if address is not None else None))


def everything(store: SwarmStore, seeders: Seeders) -> Iterator[Change]:
    """Yield what a replica has to be told that knows nothing but the closed list."""
    for one in seeders.all():
        yield beat(one.seeder, key=one.key, report=one.report, address=one.address, now=one.at_s)
    for info_hash, peer in store.all():
        yield put(info_hash, peer.endpoint, peer.role, now=peer.owned_s, tag=peer.tag, owner=peer.owner)


def encode(changes: Iterable[Change], *, now: float) -> bytes:
    """Write a batch that is told at `now`."""
    said = [[one.kind, max(0, round(1000 * (now - one.at_s))), *one.arguments] for one in changes]
    return json.dumps(said, separators=(",", ":")).encode()


class Applying:
    """Does here what others say. What cannot be is left out, with a line in the log."""

    def __init__(self, store: SwarmStore, seeders: Seeders) -> None:
        self._store, self._seeders = store, seeders
        self._kinds: dict[str, Callable[..., object]] = {
            "put": self._put,
            "claim": self._claim,
            "remove": lambda _, info_hash, endpoint: store.remove(bytes.fromhex(info_hash), bytes.fromhex(endpoint)),
            "mark": lambda at_s, endpoint, good: store.mark(bytes.fromhex(endpoint), is_reachable=bool(good), now=at_s),
            "completed": self._completed,
            "list": lambda _, hashes: store.register([bytes.fromhex(one) for one in hashes]),
            "unlist": lambda _, hashes: store.unregister([bytes.fromhex(one) for one in hashes]),
            "beat": self._beat,
        }

    def batch(self, text: bytes, *, told_at: float, since: float) -> None:
        """Do what a batch says that was told at a moment of this process's clock, but for what was before `since`."""
        try:
            told = list(read_json(text, most_bytes=MOST_BYTES))
        except (ValueError, TypeError) as error:
            log.warning("what another replica told cannot be read (%r): %.80r", error, text)
            return
        for change in told:
            try:
                kind, age_ms, *arguments = change
                at_s = told_at - age_ms / 1000
                if at_s >= since:
                    self._kinds[kind](at_s, *arguments)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                log.warning("what another replica told makes no sense (%r): %.80r", error, change)

    def _put(self, at_s: float, named: str, where: str, role: int, tag: str | None, owner: str) -> None:
        info_hash, endpoint = bytes.fromhex(named), bytes.fromhex(where)
        if info_hash in self._store:
            self._store.put(info_hash, endpoint, Role(role), now=at_s, tag=tag, owner=bytes.fromhex(owner))
            if tag and self._seeders.knows(tag):
                self._seeders.announced(tag, info_hash, endpoint, at_s)

    def _claim(self, at_s: float, named: str, where: str, said: tuple[str, int] | None) -> None:
        info_hash, endpoint = bytes.fromhex(named), bytes.fromhex(where)
        if self._store.peer(info_hash, endpoint) is not None:
            claim = Claim(bytes.fromhex(said[0]), Role(said[1])) if said else None
            self._store.claim(info_hash, endpoint, claim, now=at_s)

    def _completed(self, _: float, named: str) -> None:
        if (info_hash := bytes.fromhex(named)) in self._store:
            self._store.add_completed(info_hash)

    def _beat(self, at_s: float, seeder: str, key: str, report: dict[str, Any], address: str | None) -> None:
        self._seeders.beat(seeder, key=key, report=report, now=at_s, address=parse_address(address) if address else None)
