"""One call of huggingface_hub for one file, from what was asked to where the file lies at last."""

from __future__ import annotations

import os
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from llmpt.core import request_id
from llmpt.core.blob import Etag
from llmpt.core.errors import LlmptError
from llmpt.link.client import AgentClient
from llmpt.link.requests import Landed


class HubDisagrees(LlmptError, OSError):
    """The Hub gives another file than the LAN has said it is: it enters no cache, and the Hub alone is asked about it."""


class Proof(Enum):
    """Whether what the Hub gives is held against what the LAN has said of the file."""

    NONE = "the LAN has said nothing, or the Hub says the same"
    AT_THE_MOVE = "before the library moves it to its place: the Hub has not said what it is"
    AS_IT_COMES = "by the hook, which takes it itself"


@dataclass
class Call:
    """What huggingface_hub was asked for, and what the Hub said about it, in this very call.

    `repo_type`, `repo_id`, `filename`: the file.
    `revision`: as asked: a branch, a tag, a commit.
    `endpoint`: the Hub's URL; `is_server`: it is the tracker, which stands in for the Hub.
    `etag`, `size`: what the Hub says; None and 0 before, and for what has no etag of the Hub's kinds.
    `commit`: the commit that the Hub says it is of; empty before.
    `anonymous`: the Hub showed the file to a question without a token.
    `told_by_lan`, `lan_bytes`: the LAN said what the file is, and gave so many bytes of it as a Hub would.
    `proof`: whether what the Hub gives is held against the etag, and when.
    `served`: filled when the agent is to know where the file lies.
    `fetching`: while it is open, the agent watches the library's download.
    `kept_in`: where the library keeps what it was told of a commit's files; None: it is not known.
    `request_id`: what all that is done for it is known by, here, at the agent and at the server.
    """

    repo_type: str
    repo_id: str
    revision: str
    filename: str
    endpoint: str = ""
    is_server: bool = False
    etag: Etag | None = None
    size: int = 0
    commit: str = ""
    anonymous: bool = False
    told_by_lan: bool = False
    lan_bytes: int = 0
    proof: Proof = Proof.NONE
    served: Served | None = None
    fetching: ExitStack = field(default_factory=ExitStack)
    kept_in: Path | None = None
    request_id: str = field(default_factory=request_id.new)


current: ContextVar[Call | None] = ContextVar("llmpt_call", default=None)


@dataclass(frozen=True)
class Served:
    """A file that the agent seeds.

    `agent`, `tracker`: which one, and what it asks.
    `etag`: the blob.
    `known_at`: where the agent has put it, and seeds it already; None when it has not.
    `fetched`: it was downloaded for all of the LAN; else the whole or a part came from there.
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
