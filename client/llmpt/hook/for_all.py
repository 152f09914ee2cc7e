"""A file that this machine fetches the ordinary way for the whole LAN, and the agent that watches it come."""

from __future__ import annotations

from contextlib import ExitStack
from enum import Enum
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.link.client import AgentClient
from llmpt.link.requests import FetchBegun


class WatchState(Enum):
    """How far it is; the text says it."""

    NONE = "an ordinary download"
    DUE = "the agent has asked for it, and is to be told when it begins"
    ON = "the agent watches"


class WatchedDownload:
    """Whether one blob is fetched for all. The agent watches until `until` is closed."""

    def __init__(self, agent: AgentClient, until: ExitStack) -> None:
        self._agent, self._until = agent, until
        self.watch = WatchState.NONE

    def ask(self) -> None:
        """The agent has said that this machine is to fetch it."""
        self.watch = WatchState.DUE

    def begin(self, tracker: str, etag: Etag, stem: Path | None) -> None:
        """Tell the agent, once, that it is being fetched now, into a file whose path begins with `stem`."""
        if self.watch is WatchState.DUE:
            watches = stem is not None and self._agent.fetching(FetchBegun(tracker, etag, stem), until=self._until)
            self.watch = WatchState.ON if watches else WatchState.NONE

    @property
    def is_on(self) -> bool:
        """Whether the agent is to be told that the file has landed."""
        return self.watch is WatchState.ON
