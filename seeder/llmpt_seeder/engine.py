"""What the seeder asks of the swarm engine."""

from __future__ import annotations

from typing import Protocol

from llmpt.core.blob import Etag
from llmpt.swarm.types import Given, SeededBlob, Totals


class Engine(Protocol):
    """The verbs of `llmpt.swarm.Engine` that the seeder uses."""

    @property
    def port(self) -> int: ...

    def seed(self, blob: SeededBlob, *, announce_url: str | None = None) -> Given: ...

    def withdraw(self, etag: Etag) -> None: ...

    def set_announce_url(self, url: str) -> None: ...

    def reannounce(self) -> None: ...

    def totals(self) -> Totals: ...

    def unreadable(self) -> frozenset[Etag]: ...
