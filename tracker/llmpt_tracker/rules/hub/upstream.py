"""The Hub behind this one: what is asked of it when the catalogue has no answer.

`State.upstream` is None where no seeder has `LLMPT_UPSTREAM`: then nothing outside of the LAN is ever asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from llmpt.core.repo import RepoRef


@dataclass(frozen=True, slots=True)
class Client:
    """Which client asks: what it may cost upstream is counted for it.

    address: its own, as text
    """

    address: str


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file that is to be fetched: where it is, and its etag."""

    repo: RepoRef
    commit: str
    path: str
    etag: str


class Upstream(Protocol):
    """What the Hub-compatible routes ask for."""

    @property
    def address(self) -> str | None:
        """Where it is; None while no seeder fetches from one."""

    def learn(self, repo: RepoRef, revision: str | None, asker: Client) -> None:
        """Have the listing of a revision (None: `main`) published; return when the catalogue has it, or knows better.

        Raises `UpstreamRefused` with upstream's own words, with 429 for one that has asked for too much, or with 424 when
        upstream gives no answer; of what the catalogue knows such a one is told what it knows.
        """

    def confirm(self, repo: RepoRef, ref: str, asker: Client) -> None:
        """Have looked up where a ref points that the catalogue knows; wait for that a little. Says nothing of what came of it."""

    def fetch(self, wanted: WantedFile, asker: Client) -> None:
        """Have a file fetched; returns at once."""

    def url(self, repo: RepoRef, revision: str, path: str) -> str:
        """Return upstream's own URL of a file's content."""


@dataclass(frozen=True, slots=True)
class AskedUpstream:
    """Upstream as one client asks it."""

    upstream: Upstream
    asker: Client

    def learn(self, repo: RepoRef, revision: str | None) -> None:
        """See `Upstream`."""
        self.upstream.learn(repo, revision, self.asker)

    def confirm(self, repo: RepoRef, ref: str) -> None:
        """See `Upstream`."""
        self.upstream.confirm(repo, ref, self.asker)

    def fetch(self, wanted: WantedFile) -> None:
        """See `Upstream`."""
        self.upstream.fetch(wanted, self.asker)

    def url(self, repo: RepoRef, revision: str, path: str) -> str:
        """See `Upstream`."""
        return self.upstream.url(repo, revision, path)
