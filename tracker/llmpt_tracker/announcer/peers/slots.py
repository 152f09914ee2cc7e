"""What the store in memory is made of: the peers of one swarm in slots of byte arrays, and those of one address.

Each role and family has one array of compact endpoints; a peer that leaves is overwritten by the last one. Unreachable peers have
arrays of their own.
"""

from __future__ import annotations

from collections import OrderedDict

from llmpt_tracker.announcer.peers.store import FAMILIES, Claim, Peer, PortVerdict, Role
from llmpt_tracker.announcer.peers.wire import V6_BYTES, Endpoint

ROLES = len(Role)
Arrays = tuple[bytearray, ...]  # by family and role


def _arrays() -> Arrays:
    return tuple(bytearray() for _ in range(ROLES * len(FAMILIES)))


class Entry:
    """A peer inside: which role, and which slot of that role's array; tagged ones have no slot. Aside: unreachable."""

    __slots__ = ("claim", "is_aside", "owned_s", "owner", "role", "seen_s", "slot", "tag")

    def __init__(self, role: Role, tag: str | None, seen_s: float, owner: bytes) -> None:
        self.role, self.tag, self.owner = role, tag, owner
        self.seen_s = self.owned_s = seen_s
        self.claim: Claim | None = None
        self.slot = -1
        self.is_aside = False

    @property
    def is_keyed(self) -> bool:
        """Whether it is one of our seeders: it announced under a key."""
        return bool(self.tag)

    def peer(self, endpoint: Endpoint) -> Peer:
        """Return it as the store tells it."""
        return Peer(endpoint, self.role, self.tag, self.owner, not self.is_aside, self.owned_s, self.claim)


class SwarmSlots:
    """The peers of one torrent."""

    __slots__ = ("arrays", "aside", "entries", "tagged")

    def __init__(self) -> None:
        self.entries: OrderedDict[Endpoint, Entry] = OrderedDict()
        self.tagged: OrderedDict[Endpoint, Entry] = OrderedDict()
        self.arrays = _arrays()
        self.aside: Arrays | None = None  # most swarms have no peer there

    def array(self, role: Role, family: int, *, is_aside: bool) -> bytearray:
        """Return the array of a role and family."""
        arrays = self.arrays
        if is_aside:
            arrays = self.aside = self.aside or _arrays()
        return arrays[role + ROLES if family == V6_BYTES else role]

    def place(self, endpoint: Endpoint, entry: Entry) -> None:
        """Put a peer where its role, tag and reachability want it."""
        if entry.tag is not None:
            self.tagged[endpoint] = entry
            return
        array = self.array(entry.role, len(endpoint), is_aside=entry.is_aside)
        entry.slot = len(array) // len(endpoint)
        array += endpoint

    def displace(self, endpoint: Endpoint, entry: Entry) -> None:
        """Take a peer out of its place; the last one of its array moves there."""
        if entry.tag is not None:
            del self.tagged[endpoint]
            return
        width = len(endpoint)
        array = self.array(entry.role, width, is_aside=entry.is_aside)
        last = bytes(array[-width:])
        array[entry.slot * width : (entry.slot + 1) * width] = last
        self.entries[last].slot = entry.slot
        del array[-width:]


_VERDICTS_PER_ADDRESS = 64
_NO_KEYED: dict[bytes, list[Endpoint]] = {}  # these two are never written to
_NO_VERDICTS: dict[Endpoint, PortVerdict] = {}


class AddressPeers:
    """What one address has: its endpoints by swarm, both in the order of the last announces, and what is known of them.

    `keyed` are those of our seeders, which no limit of an address is about; `total` counts the others. Most addresses have one
    peer, and there may be as many as peers: dictionaries that keep an order of themselves take half of what others take.
    """

    __slots__ = ("keyed", "swarms", "total", "verdicts")

    def __init__(self) -> None:
        self.total = 0
        self.verdicts = _NO_VERDICTS
        self.swarms: dict[bytes, list[Endpoint]] = {}
        self.keyed = _NO_KEYED

    @property
    def is_empty(self) -> bool:
        return not self.swarms and not self.keyed

    def swarms_of(self, endpoint: Endpoint) -> list[bytes]:
        """Return the swarms in which an endpoint is."""
        return [name for part in (self.swarms, self.keyed) for name, endpoints in part.items() if endpoint in endpoints]

    def note(self, info_hash: bytes, endpoint: Endpoint, *, is_keyed: bool) -> None:
        """Note that an endpoint has announced, as the last one."""
        if is_keyed:
            self.keyed = self.keyed or {}
            self.keyed.setdefault(info_hash, []).append(endpoint)
            return
        self.total += 1
        self.swarms[info_hash] = [*self.swarms.pop(info_hash, ()), endpoint]

    def touch(self, info_hash: bytes) -> None:
        """Note that the one endpoint in a swarm has announced, as the last one."""
        self.swarms[info_hash] = self.swarms.pop(info_hash)

    def judge(self, endpoint: Endpoint, verdict: PortVerdict) -> None:
        """Note whether an endpoint can be reached; what was noted longest ago of too many is forgotten."""
        self.verdicts = self.verdicts or {}
        self.verdicts.pop(endpoint, None)
        self.verdicts[endpoint] = verdict
        if len(self.verdicts) > _VERDICTS_PER_ADDRESS:
            del self.verdicts[next(iter(self.verdicts))]

    def drop(self, info_hash: bytes, endpoint: Endpoint, *, is_keyed: bool) -> None:
        """Forget that an endpoint is in a swarm."""
        part: dict[bytes, list[Endpoint]] = self.keyed if is_keyed else self.swarms
        part[info_hash].remove(endpoint)
        if not part[info_hash]:
            del part[info_hash]
        if not is_keyed:
            self.total -= 1


def count(arrays: Arrays) -> tuple[int, int, int]:
    """Return how many seeders, leechers and paused ones there are."""
    s4, l4, p4, s6, l6, p6 = arrays
    return len(s4) // 6 + len(s6) // 18, len(l4) // 6 + len(l6) // 18, len(p4) // 6 + len(p6) // 18
