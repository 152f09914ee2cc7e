"""One blob on its way in: what the engine saw of it so far, and a condition to wait on."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmpt.core.metainfo import Metainfo
from llmpt.swarm.shares import Shares

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
HTTP = "http"


@dataclass(frozen=True, slots=True)
class DownloadFigures:
    """What stays of a download that is over. Sizes are bytes.

    `bytes_done`: what was there in the end
    `resumed_bytes`: what lay on disk before
    `bytes_by_peer`: as in `Download`
    `rate_bytes_s`: none any more
    """

    bytes_done: int
    resumed_bytes: int
    bytes_by_peer: dict[str, int]
    rate_bytes_s: int = 0

    def figures(self) -> DownloadFigures:
        return self


class Download:
    """The state of one download, written by the engine's thread and read by the one that waits for it.

    `bytes_done` counts verified pieces and arrived blocks and goes down when a piece turns out wrong; `prefix_bytes` are
    verified, on disk and without a gap from the start of the file; `resumed_bytes` is what lay on disk before; `checking`:
    that is being read; `rate_bytes_s` and `peers` are of this moment, `leechers` those of them that are not whole;
    `bytes_by_peer` maps `ip:port`, and `HTTP` for web seeds, to payload, `seeder_bytes` is what seeders sent by BitTorrent;
    `seen_at` is when libtorrent last said how it is (monotonic seconds; None: it was never asked);
    `in_order`: pieces come from the first to the last, `alone_since` no other leecher was seen, for `alone_s` at least before
    they do; `told_peers` are those that were known from the start; `shares`: which pieces are this machine's to take first (None:
    it passes nothing on), looked at anew at `shared_at`.
    """

    def __init__(
        self, metainfo: Metainfo, path: Path, told_peers: Iterable[tuple[str, int]] = (), *, alone_s: float = 0.5
    ) -> None:
        self.metainfo = metainfo
        self.path = path
        self.told_peers = tuple(told_peers)
        self.state = RUNNING
        self.reason = ""
        self.bytes_done = 0
        self.prefix_bytes = 0
        self.resumed_bytes = 0
        self.rate_bytes_s = 0
        self.peers = 0
        self.leechers = 0
        self.checking = True
        self.seen_at: float | None = None
        self.in_order = False
        self.alone_since: float | None = None
        self.alone_s = alone_s
        self.shares: Shares | None = None
        self.shared_at = float("-inf")
        self.bytes_by_peer: dict[str, int] = {}
        self.seeder_bytes = 0
        self.lost_peers: set[tuple[str, int]] = set()
        self._counted: dict[tuple[str, int], int] = {}
        self._prefix_pieces = 0
        self._changed = threading.Condition()
        self._version = 0

    def figures(self) -> DownloadFigures:
        """Return what is worth keeping of it when it is over."""
        return DownloadFigures(self.bytes_done, self.resumed_bytes, dict(self.bytes_by_peer))

    def note_pieces(self, there: Sequence[bool]) -> None:
        """Note which pieces are verified and on disk; a piece that was there stays there."""
        index = self._prefix_pieces
        while index < len(there) and there[index]:
            index += 1
        self._prefix_pieces = index
        self.prefix_bytes = min(index * self.metainfo.piece_length, self.metainfo.size)

    def note_bytes(self, source: str, endpoint: tuple[str, int], total: int, *, seeder: bool) -> None:
        """Note that the connection to `endpoint` has brought `total` bytes so far, and count what is new to `source`."""
        new = total - self._counted.get(endpoint, 0)
        if new > 0:
            self._counted[endpoint] = total
            self.bytes_by_peer[source] = self.bytes_by_peer.get(source, 0) + new
            if seeder:
                self.seeder_bytes += new

    def note_end(self, endpoint: tuple[str, int]) -> None:
        """The connection to `endpoint` has ended; another one begins at zero."""
        self.lost_peers.add(endpoint)
        self._counted.pop(endpoint, None)

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
