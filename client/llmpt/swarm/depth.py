"""How many requests of one peer the session takes at a time: as many as keep a link busy, divided by the peers of its swarm.

What counts is how many blocks a leecher has asked for in all. Too few, and a link is idle; too many, and the links' queues fill,
and the same block is on its way from several peers. libtorrent tells a peer the number once, in the handshake (`reqq`), so each
connection has that of the moment in which it came about.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import libtorrent as lt

from llmpt.swarm.torrent import endpoint_of, key_of

MOST, LEAST = 16, 4
IN_FLIGHT = 24  # blocks of 16 KiB that a leecher asks all its peers for
EXPECTED_S = 5.0  # peers that were told, and not met for so long, are not expected any more


class Depth:
    """Counts the peers of each torrent; used under the lock of the torrents. `apply` is told when the number is another one."""

    def __init__(self, apply: Callable[[int], None] = lambda _: None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._apply, self._clock = apply, clock
        self._peers: dict[bytes, set[tuple[str, int]]] = {}
        self._expected: dict[bytes, tuple[int, float]] = {}  # how many, and until when
        self._has_news = False
        self._now = MOST

    def expect(self, key: bytes, peers: int) -> None:
        """So many peers of the torrent `key` are about to be connected to."""
        self._expected[key] = (peers, self._clock() + EXPECTED_S)
        self._has_news = True
        self.judge()

    def forget(self, key: bytes) -> None:
        """The torrent is gone."""
        self._has_news |= bool(self._peers.pop(key, None)) | bool(self._expected.pop(key, None))

    def take(self, alert: Any) -> None:
        """Take note of an alert, if it tells of a peer that came or went."""
        if isinstance(alert, lt.peer_connect_alert):
            self.came(key_of(alert), endpoint_of(alert))
        elif isinstance(alert, lt.peer_disconnected_alert):
            self.went(key_of(alert), endpoint_of(alert))

    def came(self, key: bytes, endpoint: tuple[str, int]) -> None:
        """A peer of the torrent `key` was met."""
        if key:  # else the torrent has gone meanwhile
            self._peers.setdefault(key, set()).add(endpoint)
            self._has_news = True

    def went(self, key: bytes, endpoint: tuple[str, int]) -> None:
        """A peer has gone."""
        peers = self._peers.get(key, set())
        if endpoint in peers:
            peers.discard(endpoint)
            if not peers:
                del self._peers[key]
            self._has_news = True

    def judge(self) -> None:
        """Apply what follows from the torrent with the most peers. Call it after the alerts."""
        now = self._clock()
        while self._expected and next(iter(self._expected.values()))[1] <= now:
            del self._expected[next(iter(self._expected))]
            self._has_news = True
        if not self._has_news:
            return
        self._has_news = False
        most = max((*map(len, self._peers.values()), *(count for count, _ in self._expected.values())), default=1)
        depth = min(MOST, max(LEAST, IN_FLIGHT // max(most, 1)))
        if depth != self._now:
            self._now = depth
            self._apply(depth)
