"""A mirror that the seeder has taken from the queue: which files it wants, and how far they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llmpt.core.blob import Etag
from llmpt.core.mirrors import Mirror, MirrorProblem, MirrorReport, MirrorState
from llmpt_seeder.cache.listing import ListedFile, Listing
from llmpt_seeder.upstream.blob import BlobState, WantedBlob


@dataclass(slots=True)
class TakenMirror:
    """A mirror whose files are known.

    files: what it wants, by path
    wanted: those of their blobs that are not here, as the fetcher has them
    told: what the tracker was told of it last; None: nothing yet
    told_at: when (monotonic seconds)
    """

    mirror: Mirror
    commit: str
    files: Mapping[str, ListedFile]
    wanted: Mapping[Etag, WantedBlob] = field(default_factory=dict)
    told: MirrorReport | None = None
    told_at: float = float("-inf")

    def report(self) -> MirrorReport:
        """Say how it is: it has ended when all of its files have."""
        states = {blob.state for blob in self.wanted.values()}
        return MirrorReport(
            _state(states),
            self.commit,
            files_total=len(self.files),
            files_done=sum(self._is_here(file.etag) for file in self.files.values()),
            bytes_total=sum(file.size for file in self.files.values()),
            bytes_done=sum(self._bytes_here(file) for file in self.files.values()),
            error=self._error(),
        )

    def is_news(self, said: MirrorReport) -> bool:
        """Whether the tracker does not know that yet: of a mirror of one file that it is queued goes without saying."""
        if said == self.told:
            return False
        return said.state is not MirrorState.QUEUED or bool(self.told or len(self.files) > 1 or said.error)

    def _is_here(self, etag: Etag) -> bool:
        return etag not in self.wanted or self.wanted[etag].state is BlobState.DONE

    def _bytes_here(self, file: ListedFile) -> int:
        return file.size if self._is_here(file.etag) else min(self.wanted[file.etag].bytes, file.size)

    def _error(self) -> MirrorProblem | None:
        odd = (BlobState.WAITING, BlobState.FAILED)
        error = next((blob.error for blob in self.wanted.values() if blob.error and blob.state in odd), None)
        if error is None:
            return None
        return MirrorProblem.within(str(error), error.status, error.code or "", error.retry_after_s)


def chosen(mirror: Mirror, listing: Listing) -> dict[str, ListedFile]:
    """Return the files of a commit that a mirror wants."""
    return {path: file for path, file in listing.items() if mirror.ask.names(path)}


def _state(states: Iterable[BlobState]) -> MirrorState:
    states = set(states)
    if states <= {BlobState.DONE, BlobState.FAILED}:
        return MirrorState.FAILED if BlobState.FAILED in states else MirrorState.DONE
    return MirrorState.RUNNING if BlobState.RUNNING in states else MirrorState.QUEUED
