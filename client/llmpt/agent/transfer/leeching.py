"""A blob on its way in from the LAN: the engine's download, hashed as it comes, verified, and handed over."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from llmpt.agent.directory import Directory
from llmpt.agent.transfer.course import Silence, Windows
from llmpt.agent.transfer.result import Ranges
from llmpt.agent.transfer.search import Search
from llmpt.agent.transfer.sight import LeechSight
from llmpt.agent.transfer.timings import JobTimings
from llmpt.agent.transfer.web_seed import WebSeed
from llmpt.core.errors import LlmptError, SwarmError
from llmpt.disk.prefix import PrefixHasher
from llmpt.swarm import Download, Engine, Source

log = logging.getLogger("llmpt.agent")


class Leeching:
    """One download into the file at `path`; `close` lets go of what it has opened.

    `download`: the engine's own view of it
    `tail_bytes`: how much was not hashed yet when the last byte had come
    """

    def __init__(self, source: Source, path: Path, engine: Engine, directory: Directory, timings: JobTimings) -> None:
        """Begin. Raises `SwarmError` or `OSError` when it cannot."""
        self.metainfo, self.path = source.metainfo, path
        self._source, self._engine, self._directory, self._timings = source, engine, directory, timings
        etag = source.metainfo.etag
        self._web = WebSeed(engine, directory, etag, source.web_seed, again_s=timings.http_again_s)
        self._search = Search(engine, directory, etag, self._web)
        self._prefix = PrefixHasher(path, etag, source.metainfo.size)
        self._prefix.__enter__()
        self.tail_bytes = 0
        self._is_behind = self._was_met = self._took = False
        self._best = 0
        now = self._looked_at = time.monotonic()
        self._silence = Silence(now, longest_step_s=timings.longest_step_s)
        try:
            self._windows = Windows(engine.totals().downloaded_bytes, 0.0, window_s=timings.window_s)
            self.download: Download = engine.downloads.begin(source, path, resume=path.stat().st_blocks > 0)
        except BaseException:
            self.close()
            raise

    def open_file(self) -> int:
        """Return a descriptor of the file that it writes: whatever that is renamed to, it stays the same file."""
        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def see(self, wait_s: float, *, is_appealed: bool) -> LeechSight:
        """Wait until something changes, `wait_s` at most, and say how it is. `is_appealed`: the pace does not count now."""
        download = self.download
        download.wait(0 if self._is_behind else wait_s)
        self._is_behind = download.state == "running" and self._prefix.advance(download.prefix_bytes)
        now = time.monotonic()
        has_come = download.bytes_done > self._best or download.checking
        self._silence.look(now=now, seen_at=download.seen_at or now, has_come=has_come or self._took)
        self._took = False
        self._was_met = self._was_met or download.peers > 0
        if has_come:
            self._best, self._looked_at = max(self._best, download.bytes_done), now
        from_lan = self._engine.totals().downloaded_bytes
        if download.checking or is_appealed:
            self._windows.restart(from_lan, self._silence.ran_s)
        return LeechSight(
            is_whole=download.state == "finished",
            failure=download.reason if download.state == "failed" else "",
            is_checking=download.checking,
            done=download.bytes_done,
            size=self.metainfo.size,
            has_come=has_come,
            was_met=self._was_met,
            is_connected=download.peers > 0,
            is_abandoned=not self._was_met and download.lost_peers.issuperset(self._source.peers),
            told=len(self._source.peers),
            is_crowd=download.leechers > 0 or max(download.peers, len(self._source.peers)) > 1,
            http=self._web.state,
            http_s=now - self._web.asked_at,
            trades=self._web.is_spare(download),
            is_searching=self._search.is_under_way,
            silent_s=self._silence.silent_s,
            still_s=self._silence.still_s,
            machine_still_s=now - self._engine.came_at,
            looked_s=now - self._looked_at,
            window=self._windows.look(from_lan, self._silence.ran_s),
        )

    def look_again(self) -> None:
        """Look for more sources beside the download."""
        self._looked_at = time.monotonic()
        self._search.begin(self.download, in_vain=() if self._was_met else self._source.peers)

    def take_http(self) -> None:
        """Take it from a seeder's HTTP too, if one gives it; then the peers are left alone for a while."""
        if self._web.take(self.download):
            self._directory.bury(self._source.peers)
            self._took = True

    def drop_http(self) -> None:
        """Leave the seeder's HTTP alone."""
        self._web.drop(self.download)

    def verify(self, on_read: Callable[[], None]) -> None:
        """Hold the whole against the etag; raise `ContentMismatch` if it is another. `on_read` is called now and then."""
        self._engine.downloads.flush(self.metainfo.etag)
        self.tail_bytes = self.metainfo.size - self._prefix.hashed_bytes
        self._prefix.finish(on_read=on_read)

    def move(self, destination: Path) -> bool:
        """Rename the file to `destination` and go on seeding it there; False when that cannot be done."""
        try:
            self._engine.downloads.move(self.metainfo.etag, destination)
        except SwarmError as error:
            log.info("%s: the hook moves it: %s", self.metainfo.etag, error)
            return False
        return True

    def give_up(self, *, bury: bool) -> Ranges:
        """Let go of the file; return the ranges of it that are on disk and verified. `bury`: its peers gave nothing."""
        if bury:
            self._directory.bury(self._source.peers)
        try:
            return self._engine.downloads.give_up(self.metainfo.etag)
        except LlmptError as error:  # the session is ending
            log.debug("%s: %s", self.metainfo.etag, error)
            return ()

    def withdraw(self) -> None:
        """End the download; nothing is written to the file afterwards."""
        self._engine.withdraw(self.metainfo.etag)

    def close(self) -> None:
        """Let go of what is open."""
        self._prefix.__exit__(None, None, None)
