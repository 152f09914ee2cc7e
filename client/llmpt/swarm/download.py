"""One blob on its way in: what the engine saw of it so far, and a condition to wait on."""

from __future__ import annotations

import threading
from pathlib import Path

from llmpt.core.metainfo import Metainfo

RUNNING, FINISHED, FAILED = "running", "finished", "failed"


class Download:
    """The state of one download, written by the engine's thread and read by whoever waits for it.

    `bytes_done` counts verified pieces and arrived blocks and goes down when a piece turns out wrong; `resumed_bytes` is
    what lay on disk before; `rate_bytes_s` and `peers` are of this moment; `bytes_by_peer` maps `ip:port` to payload.
    """

    def __init__(self, metainfo: Metainfo, path: Path) -> None:
        self.metainfo = metainfo
        self.path = path
        self.state = RUNNING
        self.reason = ""
        self.bytes_done = 0
        self.resumed_bytes = 0
        self.rate_bytes_s = 0
        self.peers = 0
        self.checking = True
        self.bytes_by_peer: dict[str, int] = {}
        self.lost_peers: set[tuple[str, int]] = set()
        self._changed = threading.Condition()
        self._version = 0

    def touch(self) -> None:
        """Tell the waiters that something changed."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def fail(self, reason: str) -> None:
        """End the download with a reason, unless it has ended already."""
        with self._changed:
            if self.state == RUNNING:
                self.state, self.reason = FAILED, reason
            self._version += 1
            self._changed.notify_all()

    def finish(self) -> None:
        """All pieces are there and hash to the metainfo."""
        with self._changed:
            if self.state == RUNNING:
                self.state = FINISHED
                self.bytes_done = self.metainfo.size
            self._version += 1
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Return when something changed, or after `timeout_s`."""
        with self._changed:
            if self.state == RUNNING:
                seen = self._version
                self._changed.wait_for(lambda: self._version != seen, timeout_s)
