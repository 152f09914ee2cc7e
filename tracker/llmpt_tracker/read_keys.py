"""Keys that stand for the right to read where no token is sent: in announce URLs, and between this tracker and a blob server.

All follow from the server's own key, so that nothing is stored: to check one is to compute it again. A key tells of the token
that it was made for nothing but its number and its age, and is good for one torrent.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from llmpt.core.errors import StateUnavailable
from llmpt_tracker.settings import TrackerSettings

_KEY = re.compile(r"r([0-9]{1,12})t([0-9]{1,12})x([0-9a-f]{32})")


class KeyOwner(NamedTuple):
    """The token that a key was made for: its number, and since when that is its (seconds since 1970): it may be used again."""

    number: int
    since: int

    @classmethod
    def of(cls, number: int, created_at: datetime) -> KeyOwner:
        return cls(number, int(created_at.timestamp()))


@dataclass(frozen=True, slots=True)
class ReadKeys:
    """Makes and checks keys. `secret` is this server's alone."""

    secret: bytes

    @classmethod
    def of(cls, settings: TrackerSettings) -> ReadKeys | None:
        """Return those of a tracker; None: it lets every machine read. Raises `StateUnavailable` without the server's key."""
        if not settings.require_read_token:
            return None
        try:
            return cls(sha256(b"llmpt read keys\0" + settings.key_file.read_bytes()).digest())
        except OSError as error:
            raise StateUnavailable(f"the key of this server cannot be read, {settings.key_file}: {error.strerror}") from None

    def announce_key(self, owner: KeyOwner, swarm: bytes) -> str:
        """Return the key with which the holder of a token announces a torrent, given by its truncated info-hash."""
        mac = self._mac(f"announce {owner.number} {owner.since} {swarm.hex()}")
        return f"r{owner.number}t{owner.since}x{mac[:32]}"

    def owner(self, key: str, swarm: bytes) -> KeyOwner | None:
        """Return the token for which `key` was made; None: it is no key of that torrent."""
        match = _KEY.fullmatch(key)
        owner = KeyOwner(int(match[1]), int(match[2])) if match else None
        return owner if owner is not None and hmac.compare_digest(key, self.announce_key(owner, swarm)) else None

    def blob_key(self, token_id: int | None, seeder: str) -> str:
        """Return the key with which blob addresses are signed for the server of one seeder, which it learns by its heartbeat."""
        return self._mac(f"blobs {token_id} {seeder}")

    def _mac(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), sha256).hexdigest()


def is_announce_key(key: str) -> bool:
    """Say whether a key has the form of a reader's, and not that of a seeder's."""
    return _KEY.fullmatch(key) is not None
