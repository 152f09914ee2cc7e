"""Behind which keys this machine announces what it seeds, where the tracker wants keys (`LLMPT_REQUIRE_READ_TOKEN`).

A download comes with its key; of what was seeded before, the tracker is asked, a batch at each look. What it has no key for,
since the token may not read it, makes room for the rest, and is asked for again later: a token may be given more. A key is good
as long as the token that it was given for: with another token, all are asked for anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from llmpt.core.blob import Etag

AT_ONCE = 200
AGAIN_S = 600.0


class Seeding(Protocol):
    """What is seeded: the engine."""

    def without_announce_key(self) -> list[Etag]:
        """Return what has no key."""

    def know_announce_keys(self, keys: Mapping[Etag, str]) -> None:
        """Announce these behind these keys from now on."""

    def doubt_announce_keys(self) -> None:
        """Count what has a key as without one, until there is another."""


class KeyGiver(Protocol):
    """The tracker, asked with care: the directory."""

    wants_keys: bool

    @property
    def reads_with(self) -> str:
        """The token with which it is asked; empty: none."""

    def announce_keys(self, etags: Sequence[Etag]) -> dict[Etag, str] | None:
        """Return the keys that there are; None: it did not answer."""


class AnnounceKeys:
    """Finds the missing keys. `look` is to be called every few seconds."""

    def __init__(self, seeding: Seeding, tracker: KeyGiver, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seeding, self._tracker, self._clock = seeding, tracker, clock
        self._asked_at: dict[Etag, float] = {}
        self._token = ""  # that the keys were given for

    def look(self) -> None:
        """Ask for the keys of a batch; never raises for what a network does."""
        if not self._tracker.wants_keys:
            return
        token = self._tracker.reads_with
        if token and token != self._token:
            if self._token:
                self._seeding.doubt_announce_keys()
                self._asked_at.clear()
            self._token = token
        now, missing = self._clock(), self._seeding.without_announce_key()
        self._asked_at = {etag: self._asked_at[etag] for etag in missing if etag in self._asked_at}
        wanted = [etag for etag in missing if now - self._asked_at.get(etag, -math.inf) >= AGAIN_S][:AT_ONCE]
        found = self._tracker.announce_keys(wanted) if wanted else None
        if found is not None:
            self._asked_at.update(dict.fromkeys(wanted, now))
            self._seeding.know_announce_keys(found)
