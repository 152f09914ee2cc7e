"""One call of huggingface_hub for one file, from what was asked to where the file lies at last."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.link.client import AgentClient
from llmpt.link.requests import Landed


@dataclass
class Call:
    """What huggingface_hub was asked for, and what the Hub said about it, in this very call."""

    repo_type: str
    repo_id: str
    revision: str  # as asked: a branch, a tag, a commit
    filename: str
    etag: str = ""
    commit: str = ""
    size: int = 0
    endpoint: str = ""
    is_server: bool = False  # that endpoint is the tracker, which stands in for the Hub
    anonymous: bool = False  # the Hub showed it to a question without a token
    served: Served | None = None  # filled when the agent is to know where the file lies
    fetching: ExitStack = field(default_factory=ExitStack)  # while it is open, the agent watches the library's download


@dataclass(frozen=True)
class Served:
    """A file that the agent seeds: the whole or a part came from the LAN, or it was `fetched` for all of the LAN.

    The agent seeds it already if it has put it at `known_at` itself.
    """

    agent: AgentClient
    tracker: str
    etag: Etag
    known_at: Path | None
    fetched: bool = False

    def report(self, returned: str) -> None:
        """Tell the agent where the file lies, now that the library has returned its path, unless it knows."""
        final = Path(os.path.realpath(returned))
        if self.known_at is None or final != Path(os.path.realpath(self.known_at.parent)) / self.known_at.name:
            self.agent.landed(Landed(self.tracker, self.etag, final, self.fetched))
