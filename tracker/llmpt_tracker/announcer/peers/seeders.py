"""Our seeders as their heartbeats tell: which are alive, from where, under which announce key, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmpt.core.networks import Address

ALIVE_S = 30.0
FORGOTTEN_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last word of one seeder; `report` is what it sent to the application, kept as it came, `address` from where."""

    seeder: str
    key: str
    report: Mapping[str, Any]
    at_s: float
    address: Address | None = None


class Seeders:
    """The heartbeats, by announce key. One that is silent for a day is forgotten."""

    def __init__(self) -> None:
        self._by_key: dict[str, Heartbeat] = {}

    def beat(self, seeder: str, *, key: str, report: Mapping[str, Any], now: float, address: Address | None = None) -> None:
        """Record that `seeder`, which announces under `key`, is alive. Under another key it is the same one if its token is: any
        publisher may call itself so."""
        stale = [k for k, beat in self._by_key.items() if now - beat.at_s >= FORGOTTEN_S]
        stale += [k for k, beat in self._by_key.items() if k not in stale and _is_same(beat, seeder, report)]
        for old in stale:
            del self._by_key[old]
        self._by_key[key] = Heartbeat(seeder, key, report, now, address)

    def knows(self, key: str) -> bool:
        """Say whether `key` is that of a seeder that has reported, however long ago."""
        return key in self._by_key

    def is_alive(self, key: str, now: float) -> bool:
        """Say whether the seeder of `key` reported within the last 30 s."""
        beat = self._by_key.get(key)
        return beat is not None and now - beat.at_s < ALIVE_S

    def alive(self, now: float) -> list[Heartbeat]:
        """Return the last heartbeat of every seeder that is alive, the oldest first."""
        return [beat for beat in self.all() if self.is_alive(beat.key, now)]

    def all(self) -> list[Heartbeat]:
        """Return the last heartbeat of every seeder, the oldest first."""
        return sorted(self._by_key.values(), key=lambda beat: beat.at_s)


def _is_same(beat: Heartbeat, seeder: str, report: Mapping[str, Any]) -> bool:
    return beat.seeder == seeder and beat.report.get("token_id") == report.get("token_id")
