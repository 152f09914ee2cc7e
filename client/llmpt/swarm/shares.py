"""Each leecher of a young swarm has a share of its own, pieces that it takes first: then the seeder sends each piece once, and
the leechers trade. While all of them take the rarest pieces instead, they choose the same ones of one seeder at the same moment.

What is divided are the pieces that no leecher has yet, in the order of the file; machines that see the same leechers agree on
the parts without a word, by the order of their peer ids. They are divided anew all the time: what a fast machine takes more is
what is left of the others' parts. Where two see different leechers for a while, a piece is taken twice, or as any other.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Collection, Sequence

import libtorrent as lt

OWN, OTHERS, USUAL = 7, 1, 4  # libtorrent's priorities: 7 comes first, however many peers have the piece


class Shares:
    """Which pieces of a torrent of `pieces` pieces are this machine's own, which is the leecher `peer_id`."""

    def __init__(self, peer_id: bytes, pieces: int) -> None:
        self._peer_id, self._pieces = peer_id, pieces
        self._priorities = [USUAL] * pieces

    def among(self, leechers: Collection[bytes], nobody_has: Sequence[int]) -> list[int] | None:
        """Return the priority of each piece; None: as it was.

        leechers: the peer ids of the others
        nobody_has: the pieces that neither they nor this machine have
        """
        priorities = [OTHERS if leechers else USUAL] * self._pieces
        if leechers:
            parts, part = len(leechers) + 1, sum(other < self._peer_id for other in leechers)
            for piece in nobody_has[part * len(nobody_has) // parts : (part + 1) * len(nobody_has) // parts]:
                priorities[piece] = OWN
        if priorities == self._priorities:
            return None
        self._priorities = priorities
        return priorities


def make_peer_id() -> str:
    """Return a peer id of 20 characters that begins as libtorrent's own do, and is random otherwise (BEP 20)."""
    client = str(lt.default_settings()["peer_fingerprint"])
    return client + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(20 - len(client)))
