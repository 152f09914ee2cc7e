"""The Hub behind the endpoint, where the operator allows it: what the catalogue does not know is learned there, and what
nobody of the LAN has is fetched from there, once.

Without one (`State.upstream` is None) the catalogue is all there is.
"""

from __future__ import annotations

from typing import Protocol

from llmpt.core.repo import RepoRef
from llmpt_tracker.errors import LlmptError


class UpstreamRefused(LlmptError):
    """Upstream has said no: its own status, X-Error-Code ("" for none) and words; `retry_after_s`: seconds, None: it did not say."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_s = status, code, retry_after_s


class Upstream(Protocol):
    """What the endpoint asks of it."""

    def learn(self, repo: RepoRef, revision: str | None) -> None:
        """Have a revision's listing published; return when the catalogue has it, or knows better.

        Returns silently when upstream cannot be reached: the catalogue then answers as it can. Raises `UpstreamRefused`.
        """

    def fetch(self, repo: RepoRef, commit: str, path: str, etag: str) -> None:
        """Have a file fetched into the LAN. Returns at once."""

    def url(self, repo: RepoRef, revision: str, path: str) -> str:
        """Return upstream's own address of a file, for a client that cannot wait."""
