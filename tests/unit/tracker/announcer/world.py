"""A tracker's rules with a store in memory, a host of one's choice, and a clock that is set by hand."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from llmpt.core.networks import DEFAULT_PEER_CIDRS, CidrSet
from llmpt.host.routes import HostNetwork
from llmpt_tracker.announcer.peers import selection, swarms
from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.moment import Moment
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.store import SwarmStore
from llmpt_tracker.announcer.peers.subnets import Subnets
from llmpt_tracker.announcer.peers.visibility import HERE, Visibility
from llmpt_tracker.announcer.peers.wire import AnnounceReply, AnnounceRequest, Event, ScrapeEntry

HASH = b"h" * 20
KEY = "0123456789abcdef0123456789abcdef"
GATEWAY = "172.18.0.1"
CONTAINER = HostNetwork(
    gateways=frozenset({ipaddress.ip_address(GATEWAY)}), on_link=CidrSet.parse("172.18.0.0/16"), in_container=True
)


class World:
    """`announce("10.0.0.1")` and `peers(…)` as the tracker answers them at `now`."""

    def __init__(
        self,
        *,
        host: HostNetwork | None = None,
        advertise: str | None = None,
        own: tuple[str, ...] = (),
        allowed: str = DEFAULT_PEER_CIDRS,
        subnets: str = "",
    ) -> None:
        self.now = 1000.0
        self.probed: list[bytes] = []
        self.doubted: list[bytes] = []
        self.proved: list[bytes] = []
        self.probes: swarms.Probes | None = None  # others than those that are noted here
        self.proves = True  # whether what is claimed behind a gateway answers as a peer
        self.store: SwarmStore = MemoryStore()
        self.store.register([HASH])
        self.seeders = Seeders()
        self.visibility = Visibility(
            allowed=CidrSet.parse(allowed),
            seeders=self.seeders,
            host=host,
            advertise=ipaddress.ip_address(advertise) if advertise else None,
            owns=lambda address: str(address) in own,
            subnets=Subnets(CidrSet.parse(subnets)),
        )

    def moment(self) -> Moment:
        return Moment(self.store, self.visibility, self.now)

    def heartbeat(self) -> None:
        self.seeders.beat("seeder", key=KEY, report={"port": 6881}, now=self.now)

    def announce(
        self, source: str, *, port: int = 6881, left: int = 5, event: Event = Event.NONE, at: str | None = None, **more: Any
    ) -> AnnounceReply:
        fields: dict[str, Any] = {"info_hash": HASH, "peer_id": b"-XX0000-" + source.encode().ljust(12)[:12]} | more
        return swarms.announce(
            self.moment(),
            AnnounceRequest(port=port, left=left, event=event, **fields),
            self.visibility.asker(source),
            reached_at=ipaddress.ip_address(at) if at else None,
            probes=self.probes or swarms.Probes(self.probed.append, lambda _, one: self.doubted.append(one), self._prove),
        )

    def _prove(self, _info_hash: bytes, endpoint: bytes, _owner: bytes, then: Callable[[], None]) -> None:
        self.proved.append(endpoint)
        if self.proves:
            then()

    def mark(self, address: str, port: int = 6881, *, is_reachable: bool) -> None:
        """Say what became of trying an endpoint."""
        endpoint = ipaddress.ip_address(address).packed + port.to_bytes(2, "big")
        self.store.mark(endpoint, is_reachable=is_reachable, now=self.now)

    def told(self, source: str, **arguments: Any) -> set[str]:
        """Announce, and return the peers that the answer holds as `address:port`."""
        return set(texts(self.announce(source, **arguments)))

    def server(self, source: str, asker: str) -> str:
        """Return under which address `asker` reaches a server of ours that reported from `source`."""
        shown = self.visibility.shown_server(ipaddress.ip_address(source), self.visibility.asker(asker))
        return "here" if shown is HERE else str(shown)

    def scrape(self) -> ScrapeEntry:
        return swarms.scrape(self.moment(), [HASH])[HASH]

    def peers(self, asker: str, *, limit: int = 50) -> list[tuple[str | None, int]]:
        found = selection.listed(self.moment(), HASH, limit, asker=self.visibility.asker(asker))
        return [(peer.address, peer.port) for peer in found]

    def addresses(self, asker: str) -> list[str | None]:
        return [address for address, _ in self.peers(asker)]


def texts(reply: AnnounceReply) -> list[str]:
    """List the peers of a compact answer as `address:port`."""
    found = []
    for compact, width in ((reply.peers4, 6), (reply.peers6, 18)):
        for i in range(0, len(compact), width):
            endpoint = compact[i : i + width]
            found.append(f"{ipaddress.ip_address(endpoint[:-2])}:{int.from_bytes(endpoint[-2:], 'big')}")
    return found
