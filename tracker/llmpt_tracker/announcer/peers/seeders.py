"""Our seeders as their heartbeats tell: which are alive, from where, under which announce key, and what it reports.

A heartbeat comes through the application, which any machine can load. An announce under the key is a sign of life as well,
and so is an answer as a peer where that announce came from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from llmpt.core.networks import Address
from llmpt_tracker.announcer.peers.wire import Endpoint

ALIVE_S = 30.0
DOUBTED_S = 10.0
GIVEN_UP_S = 600.0
FORGOTTEN_S = 24 * 3600.0
MAX_SEEDERS = 256


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last word of one seeder; `report` is what it sent to the application, kept as it came, `address` from where."""

    seeder: str
    key: str
    report: Mapping[str, Any]
    at_s: float
    address: Address | None = None


class Sign(NamedTuple):
    """When a seeder was last known to be alive, and a torrent with the endpoint that it announced it from."""

    at_s: float
    info_hash: bytes = b""
    endpoint: Endpoint = b""


class Seeders:
    """The heartbeats, by announce key. One that is silent for a day is forgotten."""

    def __init__(self) -> None:
        self._by_key: dict[str, Heartbeat] = {}
        self._signs: dict[str, Sign] = {}

    def beat(self, seeder: str, *, key: str, report: Mapping[str, Any], now: float, address: Address | None = None) -> None:
        """Record that `seeder`, which announces under `key`, is alive. Under another key it is the same one if its token is: any
        publisher may call itself so."""
        stale = {k for k, beat in self._by_key.items() if now - beat.at_s >= FORGOTTEN_S or _is_same(beat, seeder, report)}
        if len(self._by_key) >= MAX_SEEDERS and key not in self._by_key:
            stale.add(self._one_too_many().key)
        for old in stale:
            del self._by_key[old]
            if old != key:
                self._signs.pop(old, None)
        self._by_key[key] = Heartbeat(seeder, key, report, now, address)
        self._signs[key] = self._signs.get(key, Sign(now))._replace(at_s=now)

    def _one_too_many(self) -> Heartbeat:
        """Return the oldest of the token that has most: one may name as many as it likes, and displaces its own."""
        of_each = Counter(beat.report.get("token_id") for beat in self._by_key.values())
        return min(self._by_key.values(), key=lambda beat: (-of_each[beat.report.get("token_id")], beat.at_s))

    def announced(self, key: str, info_hash: bytes, endpoint: Endpoint, now: float) -> None:
        """Record that the seeder of `key`, which is known, announced a torrent."""
        self._signs[key] = Sign(now, info_hash, endpoint)

    def answered(self, key: str, now: float) -> None:
        """Record that the seeder of `key` answered as a peer."""
        if key in self._signs:
            self._signs[key] = self._signs[key]._replace(at_s=now)

    def doubted(self, now: float) -> list[tuple[str, Sign]]:
        """Return those that were alive of late and have said nothing for a while, with where to ask them."""
        return [(k, one) for k, one in self._signs.items() if one.endpoint and DOUBTED_S <= now - one.at_s < GIVEN_UP_S]

    def knows(self, key: str) -> bool:
        """Say whether `key` is that of a seeder that has reported, however long ago."""
        return key in self._by_key

    def is_alive(self, key: str, now: float) -> bool:
        """Say whether the seeder of `key` gave a sign of life within the last 30 s."""
        sign = self._signs.get(key)
        return sign is not None and now - sign.at_s < ALIVE_S

    def alive(self, now: float) -> list[Heartbeat]:
        """Return the last heartbeat of every seeder that is alive, the oldest first."""
        return [beat for beat in self.all() if self.is_alive(beat.key, now)]

    def all(self) -> list[Heartbeat]:
        """Return the last heartbeat of every seeder, the oldest first."""
        return sorted(self._by_key.values(), key=lambda beat: beat.at_s)


def _is_same(beat: Heartbeat, seeder: str, report: Mapping[str, Any]) -> bool:
    return beat.seeder == seeder and beat.report.get("token_id") == report.get("token_id")
