"""What came of each request: the rows that `llmpt agent status` shows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from llmpt.link.requests import FetchRequest
from llmpt.swarm import HTTP, Download, DownloadFigures


@dataclass(slots=True)
class Record:
    """One request for a blob. `outcome` is running, done, refused or failed; sizes are bytes; `ended_at` is a Unix time.

    `tail_bytes` were not hashed yet when the last byte had come; `waits` while another machine fetches it for all.
    """

    request: FetchRequest
    started: float
    outcome: str = "running"
    reason: str = ""
    moved: bool = False
    seconds: float = 0.0
    ended_at: float | None = None
    tail_bytes: int = 0
    waits: bool = False
    download: Download | DownloadFigures | None = field(default=None, repr=False)

    @classmethod
    def begin(cls, request: FetchRequest) -> Record:
        return cls(request, time.monotonic())

    def end(self, outcome: str, reason: str, *, moved: bool = False) -> None:
        """Note how it ended. What the session knew of the download goes, piece layers and all; its figures stay."""
        if self.download is not None:
            self.download = self.download.figures()
        self.outcome, self.reason, self.moved = outcome, reason, moved
        self.seconds = round(time.monotonic() - self.started, 4)
        self.ended_at = time.time()

    @property
    def bytes_from_lan(self) -> int:
        """The bytes of the file that came from the swarm; what lay on disk before does not count."""
        if self.download is None:
            return 0
        return max(self.download.bytes_done - self.download.resumed_bytes, 0)

    @property
    def bytes_by_peer(self) -> dict[str, int]:
        return dict(self.download.bytes_by_peer) if self.download is not None else {}

    @property
    def bytes_by_http(self) -> int:
        """Those of them that a seeder sent by plain HTTP."""
        return self.bytes_by_peer.get(HTTP, 0)

    @property
    def machines(self) -> int:
        """How many machines sent bytes; a seeder that sent by HTTP alone is one more."""
        return len(self.bytes_by_peer.keys() - {HTTP}) or len(self.bytes_by_peer)

    def as_json(self) -> dict[str, Any]:
        request = self.request
        named = request.as_json()
        return {
            **{name: named[name] for name in ("repo_type", "repo_id", "revision", "filename", "etag")},
            "size": request.size,
            "destination": str(request.destination),
            "ino": request.file.ino,
            "outcome": self.outcome,
            "waits": self.waits,
            "reason": self.reason,
            "moved": self.moved,
            "bytes_from_lan": self.bytes_from_lan,
            "bytes_by_peer": self.bytes_by_peer,
            "bytes_by_http": self.bytes_by_http,
            "resumed_bytes": self.download.resumed_bytes if self.download else 0,
            "tail_bytes": self.tail_bytes,
            "rate_bytes_s": self.download.rate_bytes_s if self.download and self.outcome == "running" else 0,
            "seconds": self.seconds if self.ended_at else round(time.monotonic() - self.started, 4),
            "ended_at": self.ended_at,
        }
