"""Which torrents machines got to the end from swarms, since that was asked last: what bytes saved are reckoned from.

`completed` is the word of a peer, and a peer is soon made. So a torrent counts once a day for a machine, however many peers it is
and however often it says so; and what is remembered for that is bounded: over the bounds nothing is counted.
"""

from __future__ import annotations

from collections import Counter

from llmpt_tracker.announcer.peers.wire import V6_BYTES, V6_PREFIX_BYTES, Endpoint

ONCE_PER_S = 24 * 3600.0
PER_MACHINE = 20_000
TOTAL = 200_000


class Arrivals:
    """Counts them."""

    def __init__(self, *, per_machine: int = PER_MACHINE, total: int = TOTAL) -> None:
        self._per_machine, self._total = per_machine, total
        self._new: Counter[bytes] = Counter()
        self._counted: set[tuple[bytes, bytes]] = set()
        self._of_machine: Counter[bytes] = Counter()
        self._began_s = float("-inf")

    def note(self, info_hash: bytes, endpoint: Endpoint, now: float) -> None:
        """Count a torrent that the peer at an endpoint has got to the end, unless its machine had it today."""
        if now - self._began_s >= ONCE_PER_S:
            self._began_s = now
            self._counted.clear()
            self._of_machine.clear()
        machine = endpoint[:V6_PREFIX_BYTES] if len(endpoint) == V6_BYTES else endpoint[:-2]
        one = (info_hash, machine)
        if one in self._counted or self._of_machine[machine] >= self._per_machine or len(self._counted) >= self._total:
            return
        self._counted.add(one)
        self._of_machine[machine] += 1
        self._new[info_hash] += 1

    def take(self) -> dict[bytes, int]:
        """Return for each torrent how many machines got it since this was asked last."""
        taken, self._new = self._new, Counter()
        return dict(taken)
