"""The swarms at one moment: what an announce, a scrape, a lease or the application looks at."""

from __future__ import annotations

from typing import NamedTuple

from llmpt_tracker.announcer.peers.store import LOOPBACK_TAG, Counts, Role, SwarmStore
from llmpt_tracker.announcer.peers.visibility import Visibility


class Moment(NamedTuple):
    """The store and the rules of addresses, at a time.

    store: the peers
    visibility: under which address each is told of, and to whom
    now: seconds of the announcer's clock
    """

    store: SwarmStore
    visibility: Visibility
    now: float

    def is_kept_by_machines(self, info_hash: bytes) -> bool:
        """Say whether a machine of the LAN seeds a torrent, beside our seeders."""
        tagged = self.store.tagged(info_hash)
        return self.store.counts(info_hash).seeders > 0 or any(
            peer.tag == LOOPBACK_TAG and peer.role is Role.SEEDER for peer in tagged
        )

    def counts(self, info_hash: bytes) -> Counts:
        """Count plain and tagged peers; a seeder of ours that has gone silent does not count."""
        counts = self.store.counts(info_hash)
        tagged = self.store.tagged(info_hash)
        if not tagged:
            return counts
        extra, unreachable = [0, 0, 0], counts.unreachable
        for peer in tagged:
            if not self.visibility.is_out(peer, self.now):
                extra[peer.role] += 1
                unreachable += not peer.is_reachable
        seeders, leechers, paused = counts.seeders + extra[0], counts.leechers + extra[1], counts.paused + extra[2]
        return Counts(seeders, leechers, paused, counts.completed, unreachable)
