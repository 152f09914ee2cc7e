"""The Hub behind this one: what is asked of it when the catalogue has no answer.

`State.upstream` is None where no seeder has `LLMPT_UPSTREAM`: then nothing outside of the LAN is ever asked.
"""

from __future__ import annotations

from typing import Protocol

from llmpt.core.repo import RepoRef


class Upstream(Protocol):
    """What the Hub-compatible routes ask for."""

    @property
    def address(self) -> str | None:
        """Where it is; None while no seeder fetches from one."""

    def learn(self, repo: RepoRef, revision: str | None) -> None:
        """Have the listing of a revision (None: `main`) published; return when the catalogue has it, or knows better.

        Raises `UpstreamRefused` with upstream's own words. Returns without either when upstream cannot be reached.
        """

    def fetch(self, repo: RepoRef, commit: str, path: str, etag: str) -> None:
        """Have a file fetched; returns at once."""

    def url(self, repo: RepoRef, revision: str, path: str) -> str:
        """Return upstream's own URL of a file's content."""
