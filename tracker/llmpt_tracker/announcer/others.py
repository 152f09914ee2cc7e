"""The other replicas of this tracker: what they are told, and what one of them decides for all. Without any, nothing is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from llmpt.core.networks import Address

Reply = dict[str, Any]


class Others(Protocol):
    """The other replicas, as this one sees them. Nothing raises, and nothing waits for longer than a moment."""

    @property
    def reaches(self) -> bool | None:
        """Whether they can be told and asked now; None: there is no way to have any."""

    @property
    def lends(self) -> bool:
        """Whether the leases of all are this one's to lend."""

    def listed(self, hashes: Iterable[bytes]) -> None:
        """Tell that torrents were put on the closed list here."""

    def unlisted(self, hashes: Iterable[bytes]) -> None:
        """Tell that torrents were taken off it."""

    def beat(self, seeder: str, *, key: str, report: Mapping[str, Any], address: Address | None) -> None:
        """Tell of a seeder's heartbeat."""

    async def ask(self, request: Reply) -> Reply | None:
        """Have the one that decides for all answer a request of the control socket; None: answer it here."""

    async def know(self) -> None:
        """Return when this one knows what the others know, or cannot now."""

    async def told(self) -> None:
        """Return when what there was to tell is told, or cannot be now."""


class NoOthers:
    """This tracker is the only one."""

    reaches: bool | None = None
    lends = True

    def listed(self, hashes: Iterable[bytes]) -> None:
        pass

    def unlisted(self, hashes: Iterable[bytes]) -> None:
        pass

    def beat(self, seeder: str, *, key: str, report: Mapping[str, Any], address: Address | None) -> None:
        pass

    async def ask(self, request: Reply) -> Reply | None:
        return None

    async def know(self) -> None:
        pass

    async def told(self) -> None:
        pass
