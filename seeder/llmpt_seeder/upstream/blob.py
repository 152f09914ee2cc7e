"""A blob that mirrors want, and how its fetch is."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from llmpt_seeder.blobs.sources import FileState
from llmpt_seeder.cache.listing import ListedFile
from llmpt_seeder.errors import FetchFailed
from llmpt_seeder.upstream.growing import GrowingBlob
from llmpt_seeder.upstream.process import Place


class BlobState(enum.Enum):
    """How the fetch of a blob is. `WAITING`: it failed, and is tried again."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self in (BlobState.DONE, BlobState.FAILED)


@dataclass(slots=True)
class WantedBlob:
    """A blob that mirrors want.

    file, place: what it is, and where it is on the Hub
    error: why it did not come, or (while it waits) why not yet
    growing: the last try
    holders: how many mirrors look at it
    askers: the clients that asked for it, as far as they are known, the first one first
    """

    file: ListedFile
    place: Place
    state: BlobState = BlobState.QUEUED
    error: FetchFailed | None = None
    growing: GrowingBlob | None = None
    holders: int = 0
    askers: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """How much of it is here."""
        return self.growing.bytes if self.growing is not None and self.growing.state is not FileState.FAILED else 0

    def end(self, state: BlobState, error: FetchFailed | None = None) -> None:
        self.error, self.state = error, state
