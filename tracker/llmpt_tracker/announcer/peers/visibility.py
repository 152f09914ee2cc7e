"""Under which address a peer is handed out, and to whom.

An ordinary peer has the address of its socket. One of our own seeders that announces from the appliance's network (loopback,
this host, or the containers' network) has another one as its peers see it: the very address at which they reach us. And
where a container engine hides its clients behind the gateway, what comes from there names no machine.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Literal, NamedTuple

from llmpt.core.networks import Address, CidrSet, parse_address
from llmpt.host.routes import HostNetwork
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.store import Peer
from llmpt_tracker.announcer.peers.subnets import Subnets
from llmpt_tracker.announcer.peers.wire import Endpoint


class SameAddress(Enum):
    """Where a peer is when it is not at an address that we could name."""

    HERE = "at the very address at which the asker reaches us"


HERE = SameAddress.HERE
Shown = Address | Literal[SameAddress.HERE] | None


class Asker(NamedTuple):
    """Who asks: the address of the socket, and what the networks say about it; near means: from the appliance's own network."""

    address: Address
    packed: bytes
    is_loopback: bool
    is_gateway: bool
    is_allowed: bool
    is_near: bool = False


class PeerSource(NamedTuple):
    """Where a tagged peer announces from; near means: from the appliance's own network, where its peers don't see it."""

    address: Address
    is_loopback: bool
    is_near: bool


class Visibility:
    """The address rules, for one host. `advertise` is LLMPT_ADVERTISE_HOST; `owns` says whether an address is this host's;
    `subnets` are those of the site."""

    def __init__(
        self,
        *,
        allowed: CidrSet,
        seeders: Seeders,
        host: HostNetwork | None = None,
        advertise: Address | None = None,
        owns: Callable[[Address], bool] = lambda _: False,
        subnets: Subnets = Subnets(),
    ) -> None:
        self.subnets = subnets
        self._allowed, self._seeders, self._advertise, self._owns = allowed, seeders, advertise, owns
        self._host = host or HostNetwork()
        # What an address is does not change while we run, and `ipaddress` is slow: asked once for each.
        self._source = lru_cache(maxsize=4096)(self._find_source)
        self.may_hand_out = lru_cache(maxsize=4096)(self._find_may_hand_out)
        self.asker = lru_cache(maxsize=1 << 14)(self._find_asker)

    def _find_asker(self, text: str) -> Asker:
        address = parse_address(text)
        is_allowed = self.may_hand_out(address)
        is_near = (address.is_loopback and is_allowed) or self._host.is_neighbour(address)
        return Asker(address, address.packed, address.is_loopback, self._is_gateway(address), is_allowed, is_near)

    def _is_gateway(self, address: Address) -> bool:
        return self._host.in_container and address in self._host.gateways

    @property
    def is_in_container(self) -> bool:
        """Whether clients reach us at another address than our own: that of the host around our container."""
        return self._host.in_container

    def _find_may_hand_out(self, address: Address) -> bool:
        """Say whether an address is inside LLMPT_PEER_CIDRS and can be that of one machine."""
        return address in self._allowed and not (address.is_unspecified or address.is_multicast or int(address) == 0xFFFFFFFF)

    def is_known_key(self, key: str) -> bool:
        """Say whether one of our seeders announces under `key`."""
        return self._seeders.knows(key)

    def note_announce(self, key: str, info_hash: bytes, endpoint: Endpoint, now: float) -> None:
        """Note that the seeder of `key` is alive: it announced a torrent, from `endpoint` if that is known."""
        self._seeders.announced(key, info_hash, endpoint, now)

    def is_own_seeder(self, key: str, asker: Asker) -> bool:
        """Say whether a seeder of ours announces from the container beside ours: LLMPT_PEER_CIDRS need not name that."""
        return bool(key) and self.is_known_key(key) and self._host.is_neighbour(asker.address)

    def is_out(self, peer: Peer, now: float) -> bool:
        """Say whether a tagged peer is one of our seeders that has gone silent: no client is told of it."""
        return bool(peer.tag) and not self._seeders.is_alive(peer.tag or "", now)

    def shown(self, peer: Peer, asker: Asker, *, now: float) -> Shown:
        """Return the address under which a tagged peer is handed out to `asker`, `HERE`, or None when it is not."""
        if self.is_out(peer, now):
            return None
        source = self._source(peer.endpoint[:-2])
        if not peer.tag or not source.is_near:
            return source.address if asker.is_loopback or not source.is_loopback else None
        return self._beside_us(source, asker)

    def shown_server(self, address: Address, asker: Asker) -> Address | Literal[SameAddress.HERE]:
        """Return under which address `asker` reaches what listens where a seeder of ours reports from.

        What comes from the gateway may be this very host, around our container.
        """
        source = self._source(address.packed)
        return self._beside_us(source, asker) if source.is_near or self._is_gateway(address) else source.address

    def _beside_us(self, source: PeerSource, asker: Asker) -> Address | Literal[SameAddress.HERE]:
        if self._are_neighbours(source, asker):
            return source.address
        return self._advertise or HERE

    def _find_source(self, packed: bytes) -> PeerSource:
        address = parse_address(socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed))
        is_near = address.is_loopback or self._owns(address) or self._host.is_neighbour(address)
        return PeerSource(address, address.is_loopback, is_near)

    def _are_neighbours(self, source: PeerSource, asker: Asker) -> bool:
        """Say whether the asker reaches that address itself: on this very host, or on the same containers' network."""
        if source.is_loopback or asker.is_loopback:
            return source.is_loopback and asker.is_loopback
        if not self._host.in_container or asker.is_gateway:
            return False
        networks = [CidrSet((network,)) for network in self._host.on_link.networks]
        return any(source.address in network and asker.address in network for network in networks)


@lru_cache(maxsize=1024)
def is_own_address(address: Address) -> bool:
    """Say whether an address is one of this host's: only to those can a socket be bound. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
            return True
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
