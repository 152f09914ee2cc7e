"""Which addresses the session is closed to for a while: those that take more connections than a machine has need of.

libtorrent has one limit for all connections, and none for an address: 2,300 handshakes that never come, of one machine, are
all of it. But it tells of each connection that comes, of each handshake and of each end. So they are counted here, by address
and by IPv6 prefix, and an address with too many is shut out by the session's filter: what it opens from then on is closed at
once, what waits for a handshake ends by `handshake_timeout`, and its peers are disconnected.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import libtorrent as lt

from llmpt.core.networks import Address, Network, parse_address
from llmpt.swarm.torrent import endpoint_of

log = logging.getLogger("llmpt.swarm")

_V6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """What one address may have; an IPv6 prefix may have `times` as much.

    waiting: connections whose handshake has not come
    peers: connections whose handshake has come
    failed: connections that ended without one, within `failed_s`
    times: see above
    shut_s: for so long an address is shut out
    max_shut: so many addresses at most; the one that was shut out first is let in for another one
    """

    waiting: int = 100
    peers: int = 400
    failed: int = 500
    failed_s: float = 10.0
    times: int = 3
    shut_s: float = 30.0
    max_shut: int = 1000


class Doorkeeper:
    """Counts the session's connections; used by the thread that reads its alerts.

    `on_change` is called with all that is shut out, when that has changed. `exempt` are gateways behind which
    machines cannot be told apart.
    """

    def __init__(
        self,
        on_change: Callable[[Sequence[Network]], None] = lambda _: None,
        limits: DoorLimits = DoorLimits(),
        *,
        exempt: frozenset[Address] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_change, self._limits, self._exempt, self._clock = on_change, limits, exempt, clock
        self._waiting: dict[tuple[str, int], tuple[Network, ...]] = {}
        self._peers: dict[tuple[str, int], tuple[Network, ...]] = {}
        self._counts: dict[str, Counter[Network]] = {"waiting": Counter(), "peers": Counter(), "failed": Counter()}
        self._failed_since = clock()
        self._shut: OrderedDict[Network, float] = OrderedDict()
        self._has_news = False

    def take(self, alert: Any) -> None:
        """Take note of an alert, if it tells of a connection."""
        if isinstance(alert, lt.incoming_connection_alert):
            self.came(endpoint_of(alert))
        elif isinstance(alert, lt.peer_connect_alert):
            self.greeted(endpoint_of(alert))
        elif isinstance(alert, lt.peer_disconnected_alert):
            self.went(endpoint_of(alert))

    def came(self, endpoint: tuple[str, int]) -> None:
        """A connection was taken; its handshake has not come."""
        crowds = self._crowds(endpoint[0])
        if crowds:
            self._waiting[endpoint] = crowds
            self._counts["waiting"].update(crowds)

    def greeted(self, endpoint: tuple[str, int]) -> None:
        """The handshake of a connection has come."""
        crowds = self._end("waiting", self._waiting, endpoint)
        if crowds:
            self._peers[endpoint] = crowds
            self._counts["peers"].update(crowds)

    def went(self, endpoint: tuple[str, int]) -> None:
        """A connection has ended."""
        if crowds := self._end("waiting", self._waiting, endpoint):
            self._counts["failed"].update(crowds)
        self._end("peers", self._peers, endpoint)

    def judge(self) -> None:
        """Shut out what has too many, and let in what was shut out for long enough. Call it after the alerts."""
        now, limits = self._clock(), self._limits
        for name, most in (("waiting", limits.waiting), ("peers", limits.peers), ("failed", limits.failed)):
            for crowd in [crowd for crowd, count in self._counts[name].items() if count > most * self._times(crowd)]:
                self._has_news |= crowd not in self._shut
                self._shut[crowd] = now
                self._shut.move_to_end(crowd)
        if now - self._failed_since >= limits.failed_s:
            self._counts["failed"].clear()
            self._failed_since = now
        while self._shut and (len(self._shut) > limits.max_shut or now - next(iter(self._shut.values())) >= limits.shut_s):
            self._shut.popitem(last=False)
            self._has_news = True
        if self._has_news:
            self._has_news = False
            log.info("closed for too many connections: %s", ", ".join(map(str, self._shut)) or "no address any more")
            self._on_change(tuple(self._shut))

    def _end(self, name: str, kept: dict[tuple[str, int], tuple[Network, ...]], endpoint: tuple[str, int]) -> tuple[Network, ...]:
        crowds = kept.pop(endpoint, ())
        counts = self._counts[name]
        for crowd in crowds:
            counts[crowd] -= 1
            if not counts[crowd]:
                del counts[crowd]
        return crowds

    def _times(self, crowd: Network) -> int:
        return self._limits.times if crowd.prefixlen == _V6_PREFIX else 1

    def _crowds(self, text: str) -> tuple[Network, ...]:
        address = parse_address(text)
        if address in self._exempt:
            return ()
        own = ip_network(address)
        return (own,) if address.version == 4 else (own, ip_network((address, _V6_PREFIX), strict=False))
