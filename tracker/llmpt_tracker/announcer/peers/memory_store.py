"""The store in memory: every operation takes the same time however many peers there are.

In each swarm, each role and family has one byte array of compact endpoints (slots.py): an answer is a slice of it from a random
place. A dictionary in the order of the last announces leads from an endpoint to its slot; its front is what expires, and what
goes when a limit is reached.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from llmpt_tracker.announcer.peers.crowds import Crowds
from llmpt_tracker.announcer.peers.slots import ROLES, AddressPeers, Entry, SwarmSlots, count
from llmpt_tracker.announcer.peers.store import Claim, Counts, Peer, PortVerdict, Role, StoreLimits
from llmpt_tracker.announcer.peers.wire import V6_BYTES, Endpoint

_DROPPED_AT_ONCE = 5000  # takes 10 ms, in which no client is answered


class MemoryStore:
    """A `SwarmStore` in this process. Not for several threads."""

    def __init__(self, *, limits: StoreLimits | None = None, uniform: Callable[[], float] = random.random) -> None:
        self._limits = limits or StoreLimits()
        self._uniform = uniform
        self._completed: dict[bytes, int] = {}  # the closed list
        self._newly_completed: set[bytes] = set()
        self._swarms: dict[bytes, SwarmSlots] = {}  # those of it that have peers
        self._addresses: dict[bytes, AddressPeers] = {}
        self._crowds = Crowds()
        self._to_sweep: list[bytes] = []
        self._roles = dict.fromkeys(Role, 0)

    def register(self, hashes: Iterable[bytes], *, completed: Mapping[bytes, int] = MappingProxyType({})) -> None:
        for info_hash in hashes:
            self._completed.setdefault(info_hash, completed.get(info_hash, 0))

    def unregister(self, hashes: Iterable[bytes]) -> None:
        for info_hash in hashes:
            for endpoint in list(self._swarms[info_hash].entries) if info_hash in self._swarms else ():
                self.remove(info_hash, endpoint)
            self._completed.pop(info_hash, None)

    def __contains__(self, info_hash: bytes) -> bool:
        return info_hash in self._completed

    def __len__(self) -> int:
        return len(self._completed)

    @property
    def peer_count(self) -> int:
        return sum(self._roles.values())

    @property
    def roles(self) -> Mapping[Role, int]:
        return self._roles

    def put(
        self, info_hash: bytes, endpoint: Endpoint, role: Role, *, now: float, tag: str | None = None, owner: bytes = b""
    ) -> Role | None:
        swarm = self._swarms.get(info_hash)
        entry = swarm.entries.get(endpoint) if swarm is not None else None
        if swarm is None or entry is None:
            self._add(info_hash, endpoint, Entry(role, tag, now, owner))
            return None
        before, was_keyed = entry.role, entry.is_keyed
        if before != role or entry.tag != tag:
            self._roles[before] -= 1
            self._roles[role] += 1
            swarm.displace(endpoint, entry)
            entry.role, entry.tag = role, tag
            swarm.place(endpoint, entry)
        if tag is not None:
            swarm.tagged.move_to_end(endpoint)
        entry.seen_s = entry.owned_s = now
        entry.owner, entry.claim = owner, None
        swarm.entries.move_to_end(endpoint)
        address = self._addresses[endpoint[:-2]]
        if entry.is_keyed and was_keyed:
            return before
        if entry.is_keyed != was_keyed or len(address.swarms[info_hash]) > 1:
            address.drop(info_hash, endpoint, is_keyed=was_keyed)
            address.note(info_hash, endpoint, is_keyed=entry.is_keyed)
        else:
            address.touch(info_hash)
        return before

    def claim(self, info_hash: bytes, endpoint: Endpoint, claim: Claim | None, *, now: float) -> None:
        swarm = self._swarms[info_hash]
        entry = swarm.entries[endpoint]
        entry.claim = claim
        if claim is not None:
            entry.seen_s = now
            swarm.entries.move_to_end(endpoint)

    def _add(self, info_hash: bytes, endpoint: Endpoint, entry: Entry) -> None:
        if not self._make_room(info_hash, endpoint, entry.tag):
            return
        if info_hash not in self._completed:
            raise KeyError(info_hash.hex())
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            swarm = self._swarms[info_hash] = SwarmSlots()
        address = self._addresses.get(endpoint[:-2])
        if address is None:
            address = self._addresses[endpoint[:-2]] = AddressPeers()
            self._crowds.add(endpoint[:-2], address)
        verdict = address.verdicts.get(endpoint)
        entry.is_aside = verdict is not None and not verdict.is_reachable
        swarm.entries[endpoint] = entry
        swarm.place(endpoint, entry)
        address.note(info_hash, endpoint, is_keyed=entry.is_keyed)
        self._crowds.count(endpoint[:-2], 1)
        self._roles[entry.role] += 1

    def _make_room(self, info_hash: bytes, endpoint: Endpoint, tag: str | None) -> bool:
        """Drop the peers that were silent longest where one more would be over a limit; return whether there is room then.

        Who has entered under a key goes only for another one that has.
        """
        if not tag:
            self._make_room_at_address(info_hash, endpoint)
            self._make_room_among_addresses(endpoint[:-2])
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return True
        crowd = None
        if len(swarm.entries) >= self._limits.per_swarm:
            crowd = swarm.entries
        elif tag is not None and len(swarm.tagged) >= self._limits.tagged_per_swarm:
            crowd = swarm.tagged
        if crowd is None:
            return True
        goes = next((one for one, entry in crowd.items() if not entry.is_keyed), next(iter(crowd)) if tag else None)
        if goes is not None:
            self.remove(info_hash, goes)
        return goes is not None

    def _make_room_at_address(self, info_hash: bytes, endpoint: Endpoint) -> None:
        address = self._addresses.get(endpoint[:-2])
        if address is not None:
            here = address.swarms.get(info_hash)
            if here is not None and len(here) >= self._limits.per_address_and_swarm:
                self.remove(info_hash, here[0])
            elif address.total >= self._limits.per_address:
                oldest, endpoints = next(iter(address.swarms.items()))
                self.remove(oldest, endpoints[0])

    def _make_room_among_addresses(self, packed: bytes) -> None:
        if self.peer_count >= self._limits.total:
            going = self._crowds.anywhere()
        elif self._crowds.total_beside(packed) >= self._limits.per_neighbourhood:
            going = self._crowds.beside(packed)
        else:
            return
        for info_hash, endpoint in going:
            self.remove(info_hash, endpoint)

    def remove(self, info_hash: bytes, endpoint: Endpoint) -> Role | None:
        swarm = self._swarms.get(info_hash)
        entry = swarm.entries.get(endpoint) if swarm is not None else None
        if swarm is None or entry is None:
            return None
        swarm.displace(endpoint, entry)
        del swarm.entries[endpoint]
        if not swarm.entries:
            del self._swarms[info_hash]
        address = self._addresses[endpoint[:-2]]
        address.drop(info_hash, endpoint, is_keyed=entry.is_keyed)
        if address.is_empty:
            del self._addresses[endpoint[:-2]]
            self._crowds.drop(endpoint[:-2])
        else:
            self._crowds.count(endpoint[:-2], -1)
        self._roles[entry.role] -= 1
        return entry.role

    def mark(self, endpoint: Endpoint, *, is_reachable: bool, now: float) -> None:
        address = self._addresses.get(endpoint[:-2])
        if address is None:
            return
        before = address.verdicts.get(endpoint)
        address.judge(endpoint, PortVerdict(is_reachable, now))
        if is_reachable == (before is None or before.is_reachable):
            return
        for info_hash in address.swarms_of(endpoint):
            swarm = self._swarms[info_hash]
            entry = swarm.entries[endpoint]
            if entry.tag is None:  # tagged ones keep their place
                swarm.displace(endpoint, entry)
            entry.is_aside = not is_reachable
            if entry.tag is None:
                swarm.place(endpoint, entry)

    def verdict(self, endpoint: Endpoint) -> PortVerdict | None:
        address = self._addresses.get(endpoint[:-2])
        return address.verdicts.get(endpoint) if address is not None else None

    def add_completed(self, info_hash: bytes) -> None:
        self._completed[info_hash] += 1
        self._newly_completed.add(info_hash)

    def newly_completed(self) -> dict[bytes, int]:
        changed, self._newly_completed = self._newly_completed, set()
        return {info_hash: self._completed[info_hash] for info_hash in changed if info_hash in self._completed}

    def counts(self, info_hash: bytes) -> Counts:
        completed = self._completed.get(info_hash, 0)
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return Counts(completed=completed)
        seeders, leechers, paused = count(swarm.arrays)
        if swarm.aside is None:
            return Counts(seeders, leechers, paused, completed)
        aside = count(swarm.aside)
        return Counts(seeders + aside[0], leechers + aside[1], paused + aside[2], completed, sum(aside))

    def plain(
        self, info_hash: bytes, role: Role, family: int, limit: int, *, exclude: Endpoint = b"", is_reachable: bool = True
    ) -> bytes:
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return b""
        arrays = swarm.arrays if is_reachable else swarm.aside
        if arrays is None:
            return b""
        array = arrays[role + ROLES if family == V6_BYTES else role]
        if not array or limit <= 0:
            return b""
        total = len(array) // family
        entry = swarm.entries.get(exclude)
        skip = -1
        if entry is not None and entry.tag is None and entry.role == role and len(exclude) == family:
            skip = entry.slot if entry.is_aside != is_reachable else -1
        take = min(total, limit + 1 if skip >= 0 else limit)
        first = int(self._uniform() * total) if take < total else 0
        start, end = first * family, (first + take) * family
        chunk = bytes(array[start:end]) if end <= len(array) else bytes(array[start:]) + bytes(array[: end - len(array)])
        if skip < 0:
            return chunk
        place = (skip - first) % total
        if place < take:
            return chunk[: place * family] + chunk[(place + 1) * family :]
        return chunk[: limit * family]

    def tagged(self, info_hash: bytes) -> Sequence[Peer]:
        swarm = self._swarms.get(info_hash)
        if swarm is None or not swarm.tagged:
            return ()
        return [entry.peer(endpoint) for endpoint, entry in swarm.tagged.items()]

    def peer(self, info_hash: bytes, endpoint: Endpoint) -> Peer | None:
        swarm = self._swarms.get(info_hash)
        entry = swarm.entries.get(endpoint) if swarm is not None else None
        return None if entry is None else entry.peer(endpoint)

    def all(self) -> Iterator[tuple[bytes, Peer]]:
        for info_hash, swarm in self._swarms.items():
            for endpoint, entry in swarm.entries.items():
                yield info_hash, entry.peer(endpoint)

    def sweep(self, now: float, *, swarms: int) -> int:
        if not self._to_sweep:
            self._to_sweep = list(self._swarms)
        dropped = 0
        for _ in range(min(swarms, len(self._to_sweep))):
            if dropped >= _DROPPED_AT_ONCE:
                break
            info_hash = self._to_sweep.pop()
            swarm = self._swarms.get(info_hash)
            silent = []
            for endpoint, entry in swarm.entries.items() if swarm is not None else ():
                if now - entry.seen_s < self._limits.peer_ttl_s:
                    break
                silent.append(endpoint)
            for endpoint in silent:
                self.remove(info_hash, endpoint)
            dropped += len(silent)
        return dropped
