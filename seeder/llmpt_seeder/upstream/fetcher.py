"""Fetching blobs, a few at a time: each once, whoever wants it, into the cache, verified.

A slot is a thread; it follows its file as it grows, ends what hangs, and tries again what may pass. When upstream asks to wait
(429), all wait. There are as many slots as a program's `snapshot_download` has workers: a client that reads the files while
they come finds each of them coming.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import tenacity

from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch
from llmpt_seeder.cache.listing import ListedFile
from llmpt_seeder.upstream.growing import Growth, Growths
from llmpt_seeder.upstream.process import Fetch, FetchFailed, Place
from llmpt_seeder.upstream.shelf import Shelf

log = logging.getLogger("llmpt.seeder")

SLOTS = 8
TICK_S = 0.05
STALL_S = 90.0  # the library itself tries again for a minute
IDLE_S = 30.0  # when there is nothing to do for so long, the process is ended
TRIES = 5
LONGEST_WAIT_S = 30.0
LONGEST_ASKED_WAIT_S = 3600.0  # whatever upstream says: all fetches wait for it


@dataclass(slots=True)
class Want:
    """A blob that is wanted from `place`. `error`: why it did not come, or (while it waits) why not yet."""

    file: ListedFile
    place: Place
    state: Literal["queued", "running", "waiting", "done", "failed"] = "queued"
    error: FetchFailed | None = None
    growth: Growth | None = None
    holders: int = 0

    @property
    def bytes(self) -> int:
        """How much of it is here."""
        return self.growth.bytes if self.growth is not None and self.growth.state != "failed" else 0


class Process(Protocol):
    """The verbs of `FetchProcess` that are used here."""

    def fetch(self, place: Place, token: str | None) -> Fetch: ...

    def end_when_idle(self) -> None: ...

    def end(self) -> None: ...


class Fetcher:
    """Owns the slots. `process` does the fetching, `token` says which token a repo's files need; `on_fetched` is called,
    by a slot's thread, for each blob that has come or not. Its methods may be called from any thread."""

    def __init__(
        self,
        *,
        shelf: Shelf,
        growths: Growths,
        process: Process,
        token: Callable[[Place], str | None],
        on_fetched: Callable[[Want], None],
        stop: threading.Event,
        stall_s: float = STALL_S,
    ) -> None:
        self._shelf, self._growths, self._process, self._token = shelf, growths, process, token
        self._on_fetched, self._stop, self._stall_s = on_fetched, stop, stall_s
        self._changed = threading.Condition()
        self._wants: dict[Etag, Want] = {}
        self._queue: deque[Want] = deque()
        self._not_before = 0.0
        self._threads = [threading.Thread(target=self._run, name=f"fetch {n}", daemon=True) for n in range(SLOTS)]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until the slots have ended; `stop` is set."""
        with self._changed:
            self._changed.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def want(self, file: ListedFile, place: Place) -> Want:
        """Have a blob fetched; whoever wants it holds it until `release`."""
        with self._changed:
            want = self._wants.get(file.etag)
            if want is None or (want.state in ("done", "failed") and not want.holders):
                want = self._wants[file.etag] = Want(file, place)
                self._queue.append(want)
                self._changed.notify()
            want.holders += 1
            return want

    def release(self, want: Want) -> None:
        """Nobody looks at it any more."""
        with self._changed:
            want.holders -= 1
            if not want.holders and want.state in ("done", "failed") and self._wants.get(want.file.etag) is want:
                del self._wants[want.file.etag]

    def wants(self) -> list[Want]:
        """Return all that is wanted, what is under way and what has ended."""
        with self._changed:
            return list(self._wants.values())

    def _run(self) -> None:
        while not self._stop.is_set():
            want = self._next()
            if want is None:
                self._process.end_when_idle()
                continue
            try:
                self._fetch(want)
                want.state, want.error = "done", None
            except FetchFailed as error:
                log.warning("%s of %s was not fetched: %s", want.place.path, want.place.repo, error)
                want.state, want.error = "failed", error
            except Exception as error:
                log.exception("fetching %s of %s failed", want.place.path, want.place.repo)
                want.state, want.error = "failed", FetchFailed(f"something went wrong here ({type(error).__name__})")
            self._on_fetched(want)

    def _next(self) -> Want | None:
        with self._changed:
            if not self._queue:
                self._changed.wait(IDLE_S)
            if not self._queue or self._stop.is_set():
                return None
            want = self._queue.popleft()
            want.state = "running"
            return want

    def _fetch(self, want: Want) -> None:
        patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, FetchFailed) and error.may_pass),
            wait=_pause,
            stop=tenacity.stop_any(tenacity.stop_after_attempt(TRIES), tenacity.stop_when_event_set(self._stop)),
            before_sleep=lambda state: self._note_wait(want, state),
            sleep=tenacity.sleep_using_event(self._stop),
            reraise=True,
        )
        patiently(self._try, want)
        self._shelf.want(want.file.etag)

    def _try(self, want: Want) -> None:
        while not self._stop.is_set() and (left_s := self._not_before - time.monotonic()) > 0:
            self._stop.wait(left_s)
        with self._shelf.room(want.file.etag, want.file.size):
            self._try_now(want)

    def _try_now(self, want: Want) -> None:
        etag, blobs = want.file.etag, self._shelf.root / want.place.repo.folder / "blobs"
        self._shelf.clear_unfinished(blobs, etag)
        growth = Growth(etag, want.file.size, blobs)
        want.state, want.growth = "running", growth
        self._growths.begin(growth)
        try:
            self._follow(self._process.fetch(want.place, self._token(want.place)), growth)
        except (ContentMismatch, OSError) as error:
            self._shelf.remove(etag)
            words = (
                "what came is not what its etag says" if isinstance(error, ContentMismatch) else f"it cannot be read ({error})"
            )
            raise FetchFailed(f"{want.place.path}: {words}; it was removed", final=True) from error
        finally:
            growth.fail()  # but for a whole one

    def _follow(self, fetch: Fetch, growth: Growth) -> None:
        seen, moved_at = -1, time.monotonic()
        while (file := fetch.answer(TICK_S)) is None:
            now, before, seen = time.monotonic(), seen, growth.look()
            if seen != before:
                moved_at = now
            if self._stop.is_set() or now - moved_at > self._stall_s:
                self._process.end()
                raise FetchFailed("the seeder ends" if self._stop.is_set() else f"no byte came for {self._stall_s:.0f} s")
        growth.finish(file)

    def _note_wait(self, want: Want, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause_s = _pause(state)
        if isinstance(error, FetchFailed):
            if error.status == 429:
                self._not_before = max(self._not_before, time.monotonic() + pause_s)
            want.state, want.error = "waiting", error
            log.info("%s of %s: %s; tried again in %.0f s", want.place.path, want.place.repo, error, pause_s)


_growing_pause = tenacity.wait_exponential(multiplier=1, max=LONGEST_WAIT_S)


def _pause(state: tenacity.RetryCallState) -> float:
    """Wait as long as upstream says, else longer each time."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, FetchFailed) and error.retry_after_s is not None:
        return min(float(error.retry_after_s), LONGEST_ASKED_WAIT_S)
    return float(_growing_pause(state))
