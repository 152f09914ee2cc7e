"""Fetching blobs, a few at a time: each once, however many mirrors want it, into the cache, verified.

A slot is a thread; it follows its file as it grows, ends what hangs, and tries again what may pass. When upstream asks to wait
(429), all wait. There are as many slots as a program's `snapshot_download` has workers: a client that reads the files while
they come finds each of them coming.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import ContentMismatch
from llmpt.core.repo import RepoRef
from llmpt.host import loops
from llmpt_seeder.cache.listing import ListedFile
from llmpt_seeder.errors import FetchFailed
from llmpt_seeder.life import Life
from llmpt_seeder.upstream.blob import BlobState, WantedBlob
from llmpt_seeder.upstream.growing import GrowingBlob
from llmpt_seeder.upstream.process import Download, Place
from llmpt_seeder.upstream.shelf import Shelf

log = logging.getLogger("llmpt.seeder")

AT_ONCE = loops.Rhythm(interval_s=0)
CANCELLED = "no mirror wants it any more"
STALL_S = 90.0  # the library itself tries again for a minute


@dataclass(frozen=True, slots=True)
class FetchTimings:
    """How many blobs are fetched at once, and when a fetch is given up.

    slots: so many at once
    tick_s: between two looks at a file that grows
    stall_s: without a byte for so long a fetch is ended
    idle_s: with nothing to do for so long the process is ended
    tries: of one blob, before it has failed
    pauses: between them, and of all slots when upstream asks to wait
    """

    slots: int = 8
    tick_s: float = 0.05
    stall_s: float = STALL_S
    idle_s: float = 30.0
    tries: int = 5
    pauses: Pauses = Pauses(first_s=1.0, longest_s=30.0, jitter=0.2)


class Process(Protocol):
    """The verbs of `FetchProcess` that are used here."""

    def fetch(self, place: Place, token: str | None) -> Download: ...

    def cancel(self, download: Download) -> None: ...

    def end_when_idle(self) -> None: ...

    def end(self) -> None: ...


class Fetcher:
    """Owns the slots. `process` does the fetching, `token` says which token a repo's files need; `on_fetched` is called,
    by a slot's thread, for each blob that has come or not. Files of the repos that are `pinned` (folded) are fetched first. Its
    methods may be called from any thread."""

    def __init__(
        self,
        shelf: Shelf,
        process: Process,
        *,
        token: Callable[[Place], str | None],
        on_fetched: Callable[[WantedBlob], None],
        life: Life,
        timings: FetchTimings = FetchTimings(),
    ) -> None:
        self._shelf, self._process, self._token = shelf, process, token
        self._on_fetched, self._life, self._timings = on_fetched, life, timings
        self._changed = threading.Condition()
        self._wanted: dict[Etag, WantedBlob] = {}
        self._queue: dict[Etag, WantedBlob] = {}  # in the order in which they were asked for
        self._busy: set[Etag] = set()  # what slots are at
        self.pinned: Collection[RepoRef] = ()
        self._upstream = Breaker(timings.pauses)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to work."""
        stop, health = self._life.stop, self._life.health
        for number in range(self._timings.slots):
            self._threads.append(loops.start(f"fetch {number}", self.step, AT_ONCE, stop=stop, health=health))

    def join(self, timeout_s: float) -> None:
        """Wait until the slots have ended; the seeder's life has."""
        with self._changed:
            self._changed.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def want(self, file: ListedFile, place: Place, askers: Sequence[str] = ()) -> WantedBlob:
        """Have a blob fetched; it is held until `release`."""
        with self._changed:
            blob = self._wanted.get(file.etag)
            if blob is None or not blob.holders:
                blob = self._wanted[file.etag] = WantedBlob(file, place)
                self._queue[file.etag] = blob
                self._changed.notify()
            blob.holders += 1
            blob.askers = tuple(dict.fromkeys((*blob.askers, *askers)))
            return blob

    def release(self, blob: WantedBlob) -> None:
        """Let go of a blob. One that no mirror wants any more is not fetched: it is taken out of the queue, or broken off."""
        with self._changed:
            blob.holders -= 1
            if blob.holders:
                return
            if self._queue.get(blob.file.etag) is blob:
                del self._queue[blob.file.etag]
                blob.end(BlobState.FAILED, FetchFailed(CANCELLED, final=True))
            if not blob.state.is_over:
                self._changed.notify_all()
            elif self._wanted.get(blob.file.etag) is blob:
                del self._wanted[blob.file.etag]

    def wanted(self) -> list[WantedBlob]:
        """Return all that is wanted: what waits, what is under way, and what has ended."""
        with self._changed:
            return list(self._wanted.values())

    def step(self) -> None:
        """Fetch one blob, or wait a while for one."""
        blob = self._next()
        if blob is None:
            self._process.end_when_idle()
            return
        try:
            self._fetch(blob)
            blob.end(BlobState.DONE)
        except FetchFailed as error:
            log.warning("%s of %s was not fetched: %s", blob.place.path, blob.place.repo, error)
            blob.end(BlobState.FAILED, error)
        except Exception as error:
            blob.end(BlobState.FAILED, FetchFailed(f"something went wrong here ({type(error).__name__})"))
            raise
        finally:
            with self._changed:
                self._busy.discard(blob.file.etag)
                if not blob.holders and self._wanted.get(blob.file.etag) is blob:
                    del self._wanted[blob.file.etag]
                self._changed.notify()
            self._on_fetched(blob)

    def _next(self) -> WantedBlob | None:
        with self._changed:
            ready = self._ready()
            if not ready:
                self._changed.wait(self._timings.idle_s)
                ready = self._ready()
            if self._life.stop.is_set() or not ready:
                return None
            blob = self._fairest(ready)
            del self._queue[blob.file.etag]
            self._busy.add(blob.file.etag)
            blob.state = BlobState.RUNNING
            return blob

    def _ready(self) -> list[WantedBlob]:
        """Return what may be begun: what was cancelled and is wanted again waits until the slot that was at it has let go."""
        return [one for etag, one in self._queue.items() if etag not in self._busy]

    def _fairest(self, ready: Sequence[WantedBlob]) -> WantedBlob:
        """Return what is fetched next: what is pinned, then what was asked for first, of the asker for which the least is under
        way."""
        pinned = {repo for repo in {one.place.repo for one in ready} if repo.folded in self.pinned} if self.pinned else ()
        busy = Counter(self._wanted[etag].askers[:1] for etag in self._busy if etag in self._wanted)
        return min(ready, key=lambda one: (one.place.repo not in pinned, busy[one.askers[:1]]))

    def _pause(self, blob: WantedBlob, seconds: float) -> None:
        """Wait, but not longer than the blob is wanted, or the seeder lives."""
        with self._changed:
            self._changed.wait_for(lambda: not blob.holders or self._life.stop.is_set(), seconds)
        if not blob.holders:
            raise FetchFailed(CANCELLED, final=True)

    def _fetch(self, blob: WantedBlob) -> None:
        """Try until the blob is here. Raises `FetchFailed` for a no, or for the last try."""
        for tried in range(1, self._timings.tries + 1):
            while not self._life.stop.is_set() and (left_s := self._upstream.left_s) > 0:
                self._pause(blob, left_s)
            try:
                with self._shelf.room(blob.file.etag, blob.file.size, self._folder(blob), blob.askers):
                    self._try(blob)
            except OSError as error:
                raise FetchFailed(f"LLMPT_MIRROR_CACHE cannot be used: {error.strerror or error}", final=True) from error
            except FetchFailed as error:
                if not error.may_pass or tried == self._timings.tries or self._life.stop.is_set():
                    raise
                pause_s = self._pause_s(error, tried)
                blob.end(BlobState.WAITING, error)
                log.info("%s of %s: %s; tried again in %.0f s", blob.place.path, blob.place.repo, error, pause_s)
                self._pause(blob, pause_s)
            else:
                break

    def _folder(self, blob: WantedBlob) -> Path:
        return self._shelf.root / blob.place.repo.folder / "blobs"

    def _try(self, blob: WantedBlob) -> None:
        etag, folder = blob.file.etag, self._folder(blob)
        self._shelf.clear_unfinished(folder, etag)
        growing = GrowingBlob(etag, blob.file.size, folder)
        blob.state, blob.growing = BlobState.RUNNING, growing
        self._shelf.growing.begin(growing)
        try:
            self._follow(blob, self._process.fetch(blob.place, self._token(blob.place)), growing)
        except (ContentMismatch, OSError) as error:
            self._shelf.remove(etag)
            words = (
                "what came is not what its etag says" if isinstance(error, ContentMismatch) else f"it cannot be read ({error})"
            )
            raise FetchFailed(f"{blob.place.path}: {words}; it was removed", final=True) from error
        finally:
            growing.fail()  # but for a whole one
            self._shelf.clear_unfinished(folder, etag)

    def _follow(self, blob: WantedBlob, download: Download, growing: GrowingBlob) -> None:
        seen, moved_at, stall_s = -1, time.monotonic(), self._timings.stall_s
        while (file := download.answer(self._timings.tick_s)) is None:
            now, before, seen = time.monotonic(), seen, growing.look()
            if seen != before:
                moved_at = now
            if not blob.holders:
                self._process.cancel(download)
                raise FetchFailed(CANCELLED, final=True)
            if self._life.stop.is_set() or now - moved_at > stall_s:
                self._process.end()
                raise FetchFailed("the seeder ends" if self._life.stop.is_set() else f"no byte came for {stall_s:.0f} s")
        growing.finish(file)

    def _pause_s(self, error: FetchFailed, tried: int) -> float:
        """Say how long a blob waits: as long as upstream says, and then all do; else longer each time."""
        if error.status == 429:
            return self._upstream.failed(error, retry_after_s=error.retry_after_s)
        if error.retry_after_s is not None:
            return min(float(error.retry_after_s), self._timings.pauses.longest_asked_s)
        return self._timings.pauses.after(tried, random.random())  # noqa: S311  (a pause)
