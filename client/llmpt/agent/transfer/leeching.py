"""A blob on its way in from the LAN: the engine's download, hashed as it comes, verified, and handed over."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from llmpt.agent.transfer.course import Silence, Windows
from llmpt.agent.transfer.door import Door
from llmpt.agent.transfer.parts import JobParts
from llmpt.agent.transfer.result import Ranges
from llmpt.agent.transfer.search import Search
from llmpt.agent.transfer.sight import LeechSight
from llmpt.agent.transfer.target import FileTaken, Target
from llmpt.agent.transfer.web_seed import WebSeed
from llmpt.core.errors import ContentMismatch, LlmptError, SwarmError
from llmpt.core.files import FileId
from llmpt.disk.examination import examine
from llmpt.disk.opening import is_private, open_file
from llmpt.disk.prefix import PrefixHasher
from llmpt.disk.stamp import FileStamp
from llmpt.link.requests import FetchRequest
from llmpt.swarm import Download, Source

log = logging.getLogger("llmpt.agent")


class Spoilt(LlmptError):
    """What had arrived is not on the disk any more as it came: the disk, or another program, has changed it."""


class Leeching:
    """One download into the file of a hook; `close` ends it, unless it has been moved, and lets go of what it has opened.

    `path`: where the hook's file lies
    `download`: the engine's own view of it
    `tail_bytes`: how much was not hashed yet when the last byte had come
    `is_seeded`: it was moved, and the session gives it to others from there
    """

    def __init__(self, source: Source, request: FetchRequest, parts: JobParts) -> None:
        """Begin. Raises `FileTaken`, `SwarmError` or `OSError` when it cannot."""
        engine, directory, timings = parts.engine, parts.directory, parts.timings
        self.metainfo, self.path = source.metainfo, request.path
        self._source, self._engine, self._directory, self._timings = source, engine, directory, timings
        etag = source.metainfo.etag
        self._web = WebSeed(engine, directory, etag, source.web_seed, again_s=timings.http_again_s)
        self._search = Search(engine, directory, etag, self._web)
        self._right: Ranges | None = None  # what is known to be right, when that is not what the session believes
        self._is_moved = False
        self.is_seeded = False
        self._target = Target(request.path, request.file)
        self._door = Door(parts.doors, self._target.descriptor, request.path)
        if self._door.is_plain and not is_private(request.path):
            self._target.close()
            raise FileTaken(f"others may write where {request.path.name} lies, and this system has no safe way to it")
        self._prefix = PrefixHasher(self._target.descriptor, etag, source.metainfo.size)
        self._prefix.__enter__()
        self.tail_bytes = 0
        self._is_behind = self._was_met = self._took = False
        self._best = 0
        now = self._looked_at = time.monotonic()
        self._silence = Silence(now, longest_step_s=timings.longest_step_s)
        try:
            self._windows = Windows(engine.totals().downloaded_bytes, 0.0, window_s=timings.window_s)
            resumes = os.fstat(self._target.descriptor).st_blocks > 0
            self.download: Download = engine.downloads.begin(source, self._door.path, resume=resumes)
        except BaseException:
            self.close()
            raise

    def open_file(self) -> int:
        """Return a descriptor of the file that it writes: whatever that is renamed to, it stays the same file."""
        return os.dup(self._target.descriptor)

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
            failure=download.reason if download.state == "failed" else self._why_lost(),
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
        """Hold the whole against the etag. `on_read` is called now and then.

        Raises `ContentMismatch` when every piece is the torrent's and the whole is not the etag's: then the torrent is wrong.
        Raises `FileTaken` or `Spoilt` when the file is.
        """
        self._engine.downloads.flush(self.metainfo.etag)
        self.tail_bytes = self.metainfo.size - self._prefix.hashed_bytes
        try:
            self._prefix.finish(on_read=on_read)
        except ContentMismatch:
            self._examine(on_read)
        self._target.check()

    def _examine(self, on_read: Callable[[], None]) -> None:
        self._target.check()
        found = examine(self._target.descriptor, self.metainfo, on_read=on_read)
        if found.is_blob:  # it was changed while it was read, and is right now
            return
        if found.is_torrents:
            count, etag = self.metainfo.piece_count, self.metainfo.etag
            raise ContentMismatch(f"all {count} pieces are those of the torrent, and their content is not that of etag {etag}")
        self._right = found.right
        raise Spoilt("what had arrived was changed on this machine's disk")

    def _why_lost(self) -> str:
        if not self._target.is_at(self.path):
            return f"another program has removed or replaced {self.path.name}"
        return "" if self._door.leads_there() else "the agent's own link to the file was removed"

    def move(self, destination: Path) -> bool:
        """Rename the file to `destination` and go on seeding it there; False when that cannot be done."""
        etag = self.metainfo.etag
        try:
            self._target.check()
            if self._door.is_plain:
                self._engine.downloads.move(etag, destination)
            else:
                self.path.rename(destination)
            self._is_moved = True
            if not self._target.is_at(destination):
                self._take_back(destination)
            if not self._door.is_plain:
                self._engine.downloads.moved(etag, self._target.descriptor, self._door.path, destination)
            self.is_seeded = True
        except FileTaken:
            raise
        except (SwarmError, OSError) as error:
            log.info("%s: %s: %s", etag, "not seeded" if self._is_moved else "the hook moves it", error)
            if self._is_moved:
                self.withdraw()
            return self._is_moved
        return True

    def _take_back(self, destination: Path) -> None:
        """Another file than ours was moved, put there at the last moment: raise `FileTaken`, and let it have no etag's name."""
        if destination.is_symlink():
            destination.unlink()
        else:
            with open(open_file(destination, follow=False), "rb", buffering=0) as file:  # noqa: PTH123  (a descriptor)
                there = FileId.of(os.fstat(file.fileno()))
                if not examine(file.fileno(), self.metainfo).is_blob and FileId.of(destination.lstat()) == there:
                    destination.unlink()
        self._is_moved = False
        raise FileTaken(f"another program has replaced {self.path.name}")

    def stamp(self) -> FileStamp:
        """Return what the file is like now, whatever lies at its path."""
        return FileStamp.of(os.fstat(self._target.descriptor))

    def give_up(self, *, bury: bool) -> Ranges:
        """Let go of the file; return the ranges of it that are on disk and verified. `bury`: its peers gave nothing."""
        if bury:
            self._directory.bury(self._source.peers)
        try:
            have = self._engine.downloads.give_up(self.metainfo.etag)
        except LlmptError as error:  # the session is ending
            log.debug("%s: %s", self.metainfo.etag, error)
            return ()
        if not self._target.is_at(self.path):
            return ()
        return have if self._right is None else self._right

    def withdraw(self) -> None:
        """End the download; nothing is written to the file afterwards."""
        self._engine.withdraw(self.metainfo.etag)

    def close(self) -> None:
        """Let go of what is open; nothing is written to the file afterwards."""
        if not self._is_moved:
            self._engine.withdraw(self.metainfo.etag)  # before its descriptor is another file's
            self._door.close()
        self._prefix.__exit__(None, None, None)
        self._target.close()
