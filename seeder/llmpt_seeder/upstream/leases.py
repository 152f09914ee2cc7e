"""What the machines of the LAN are told of our fetches, so that they wait for them and do not fetch the same."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerRefused
from llmpt_seeder.upstream.fetcher import STALL_S, Want

log = logging.getLogger("llmpt.seeder")

TELL_EVERY_S = 0.5
QUIET_S = 60.0
MOST = 2000  # in one request


class Tracker(Protocol):
    """The call of `llmpt.tracker.client.TrackerClient` that is used here."""

    def leases(self, body: Mapping[str, Any]) -> dict[str, Any]: ...


class Leases:
    """Tells the tracker. `published` says whether others can have a blob of us by now; smaller ones than `min_blob_bytes` nobody
    waits for."""

    def __init__(self, connect: Callable[[], Tracker], *, published: Callable[[Etag], bool], min_blob_bytes: int) -> None:
        self._connect, self._published, self._min_blob_bytes = connect, published, min_blob_bytes
        self._machine = secrets.token_hex(8)
        self._held: dict[Etag, Want] = {}
        self._told_at = self._quiet_until = float("-inf")
        self._seen: dict[Etag, tuple[int, float]] = {}

    @property
    def are_held(self) -> bool:
        """Whether there is more to tell."""
        return bool(self._held)

    def tell(self, wants: Iterable[Want]) -> None:
        """Say what is under way; a blob that has come is held until others can have it. Cheap when there is nothing to say."""
        now = time.monotonic()
        for want in wants:
            if want.file.size >= self._min_blob_bytes and len(self._held) < MOST and want.state != "done":
                self._held.setdefault(want.file.etag, want)
        if not self._held or now - self._told_at < TELL_EVERY_S or now < self._quiet_until:
            return
        self._told_at = now
        over = {etag: how for etag, want in self._held.items() if (how := self._outcome(want))}
        try:
            self._connect().leases(self._body(over, now))
        except TrackerRefused as error:
            log.debug("no leases: %s", error)
            self._quiet_until = now + QUIET_S
        except TrackerError as error:
            log.debug("no leases: %s", error)
            return
        for etag in over:
            del self._held[etag]
            self._seen.pop(etag, None)

    def _outcome(self, want: Want) -> str | None:
        if want.state == "failed":
            return "failed"
        return "published" if want.state == "done" and self._published(want.file.etag) else None

    def _body(self, over: Mapping[Etag, str], now: float) -> dict[str, Any]:
        held = [(etag, want) for etag, want in self._held.items() if etag not in over]
        return {
            "machine": self._machine,
            "stall_timeout_s": STALL_S,
            "unlimited": True,
            "wants": [
                {"etag": etag.value, "size": w.file.size, "repo_type": w.place.repo.type, "repo_id": w.place.repo.id}
                for etag, w in held
            ],
            "fetching": [
                {"etag": etag.value, "bytes": want.bytes, "rate_bytes_s": self._rate(etag, want.bytes, now)}
                for etag, want in held
                if want.state != "queued"
            ],
            "ended": [{"etag": etag.value, "outcome": how} for etag, how in over.items()],
        }

    def _rate(self, etag: Etag, count: int, now: float) -> int:
        before, at = self._seen.get(etag, (0, now - TELL_EVERY_S))
        self._seen[etag] = (count, now)
        return max(0, int((count - before) / max(now - at, 0.001)))
