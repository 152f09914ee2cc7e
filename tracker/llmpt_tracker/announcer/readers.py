"""Which announces and scrapes are answered where reading takes a token: those under a key that the tracker gave for that torrent.

A key proves by itself for which token and torrent it was made. Which tokens hold is told by the parent every few seconds; one
that was made since is believed meanwhile. Before the first word no key holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from llmpt_tracker.errors import ClientError
from llmpt_tracker.read_keys import KeyOwner, ReadKeys

WANTED = "this tracker wants a key in the announce URL: its .torrent files and its clients have one, with a token that may read"
OVER = "the token of this announce URL is over, or the key is of another torrent: ask the tracker for the .torrent again"


class Readers:
    """The keys of readers. `keys` None: every machine may announce, and a key is none."""

    def __init__(self, keys: ReadKeys | None = None) -> None:
        self._keys = keys
        self._valid: frozenset[KeyOwner] = frozenset()
        self._as_of: float = math.inf

    @property
    def are_asked(self) -> bool:
        """Whether a key is needed."""
        return self._keys is not None

    def learn(self, valid: Iterable[KeyOwner], *, as_of: float) -> None:
        """Take in which tokens held at that moment (seconds since 1970)."""
        self._valid, self._as_of = frozenset(valid), math.floor(as_of)

    def check(self, key: str, hashes: Iterable[bytes]) -> None:
        """Raise `ClientError` unless `key` is good for these torrents."""
        if self._keys is None:
            return
        if not key:
            raise ClientError(WANTED)
        for info_hash in hashes:
            owner = self._keys.owner(key, info_hash)
            if owner is None or (owner not in self._valid and owner.since < self._as_of):
                raise ClientError(OVER)
