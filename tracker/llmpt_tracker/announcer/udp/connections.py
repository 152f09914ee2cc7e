"""Connection ids (BEP 15): what a client shows to prove that it reads what is sent to its address.

An id is a keyed hash of the address and the time: none can be made elsewhere, and nothing is stored for those that are given out.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

ID_BYTES = 8
SLOT_S = 60.0  # a client may use an id for a minute, and we take it for two
SLOTS_TAKEN = 3


class ConnectionIds:
    """Gives ids, and knows them again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        key = secrets.token_bytes(32)
        self._clock = clock

        @lru_cache(maxsize=1 << 12)
        def made(address: str, slot: int) -> bytes:
            return blake2b(b"%d %b" % (slot, address.encode()), key=key, digest_size=ID_BYTES).digest()

        self._made = made

    def give(self, address: str) -> bytes:
        """Return an id for an address."""
        return self._made(address, int(self._clock() / SLOT_S))

    def is_good(self, connection: bytes, address: str) -> bool:
        """Say whether an id was given to that address, two minutes ago at most (or a little longer)."""
        slot = int(self._clock() / SLOT_S)
        return any(hmac.compare_digest(connection, self._made(address, slot - age)) for age in range(SLOTS_TAKEN))
