"""What the machines of the LAN are told of our fetches, so that they wait for them and do not fetch the same."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import TrackerError, TrackerRefused
from llmpt.core.leases import MAX_LINES, Ended, FetchProgress, LeaseAnswer, LeaseOutcome, Poll, Want
from llmpt_seeder.upstream.blob import BlobState, WantedBlob
from llmpt_seeder.upstream.fetcher import STALL_S

log = logging.getLogger("llmpt.seeder")


@dataclass(frozen=True, slots=True)
class ReportTimings:
    """When the tracker is told.

    every_s: at most so often
    refused_s: not again for so long after it has refused
    pauses: after it gave no answer
    """

    every_s: float = 0.5
    refused_s: float = 60.0
    pauses: Pauses = Pauses(first_s=0.5, longest_s=30.0)


class LeaseReports:
    """Tells the tracker, by `ask`.

    published: says whether others can have a blob of us by now
    min_blob_bytes: says from which size on machines wait for a blob
    """

    def __init__(
        self,
        ask: Callable[[Poll], LeaseAnswer],
        *,
        published: Callable[[Etag], bool],
        min_blob_bytes: Callable[[], int],
        timings: ReportTimings = ReportTimings(),
    ) -> None:
        self._ask, self._published, self._min_blob_bytes, self._timings = ask, published, min_blob_bytes, timings
        self._machine = secrets.token_hex(8)
        self._held: dict[Etag, WantedBlob] = {}
        self._told_at = float("-inf")
        self._tracker = Breaker(timings.pauses)
        self._seen: dict[Etag, tuple[int, float]] = {}

    @property
    def are_held(self) -> bool:
        """Whether there is more to tell."""
        return bool(self._held)

    def tell(self, blobs: Iterable[WantedBlob]) -> None:
        """Say what is under way; a blob that has come is held until others can have it. Cheap when there is nothing to say."""
        now = time.monotonic()
        for blob in blobs:
            if blob.file.size >= self._min_blob_bytes() and len(self._held) < MAX_LINES and blob.state is not BlobState.DONE:
                self._held.setdefault(blob.file.etag, blob)
        if not self._held or now - self._told_at < self._timings.every_s or not self._tracker.allows():
            return
        self._told_at = now
        over = {etag: how for etag, blob in self._held.items() if (how := self._outcome(blob)) is not None}
        try:
            self._ask(self._poll(over, now))
        except TrackerRefused as error:
            log.debug("no leases: %s", error)
            self._tracker.failed(error, retry_after_s=self._timings.refused_s)
        except TrackerError as error:
            log.debug("no leases: %s", error)
            self._tracker.failed(error)
            return
        else:
            self._tracker.succeeded()
        for etag in over:
            del self._held[etag]
            self._seen.pop(etag, None)

    def _outcome(self, blob: WantedBlob) -> LeaseOutcome | None:
        if blob.state is BlobState.FAILED:
            return LeaseOutcome.FAILED
        return LeaseOutcome.PUBLISHED if blob.state is BlobState.DONE and self._published(blob.file.etag) else None

    def _poll(self, over: Mapping[Etag, LeaseOutcome], now: float) -> Poll:
        held = [(etag, blob) for etag, blob in self._held.items() if etag not in over]
        return Poll(
            self._machine,
            STALL_S,
            tuple(Want(etag, blob.file.size, blob.place.repo) for etag, blob in held),
            tuple(
                FetchProgress(etag, blob.bytes, self._rate(etag, blob.bytes, now))
                for etag, blob in held
                if blob.state is not BlobState.QUEUED
            ),
            tuple(Ended(etag, how) for etag, how in over.items()),
            unlimited=True,
        )

    def _rate(self, etag: Etag, count: int, now: float) -> int:
        before, at = self._seen.get(etag, (0, now - self._timings.every_s))
        self._seen[etag] = (count, now)
        return max(0, int((count - before) / max(now - at, 0.001)))
