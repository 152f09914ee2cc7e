"""The queue of mirrors at work: what the tracker's clients want from upstream, taken, fetched, and reported on.

obey      what an operator has said: what is cancelled is let go, what is pinned goes first and stays
take      mirrors that are queued (and, after a restart, those that ran): at a knock, else every ten seconds
look up   each one's commit and listing, a few at a time; one that wants no more is done with that
fetch     the blobs that are not here, each once (`Fetcher`)
report    how far each mirror is, twice a second while it moves
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from llmpt.core.blob import Etag
from llmpt.core.errors import StateUnavailable, TrackerError, TrackerRefused
from llmpt.core.mirrors import UNREACHABLE, Mirror, MirrorProblem, MirrorReport, MirrorState
from llmpt.hub.asking import HubNo, HubUnreachable
from llmpt_seeder.life import UPSTREAM, Life
from llmpt_seeder.upstream.blob import WantedBlob
from llmpt_seeder.upstream.fetcher import Fetcher
from llmpt_seeder.upstream.lookup import Lookup
from llmpt_seeder.upstream.mirrors import TakenMirror, chosen
from llmpt_seeder.upstream.process import Place
from llmpt_seeder.upstream.queue import Hearing, MirrorQueue
from llmpt_seeder.upstream.shelf import Shelf

log = logging.getLogger("llmpt.seeder")

TAKE_EVERY_S = 10.0
TICK_S = 0.1
REPORT_EVERY_S = 0.5
LOOKUPS = 4
END_TIMEOUT_S = 6.0


@dataclass(frozen=True, slots=True)
class Stock:
    """What is here.

    shelf: the cache that is fetched into, with what comes in just now
    has: whether a blob is here, verified, for others to have
    """

    shelf: Shelf
    has: Callable[[Etag], bool]

    def tidy(self) -> None:
        """Write down what was wanted; what others can have by now need not be remembered as coming."""
        self.shelf.keep()
        self.shelf.growing.forget(self.has)


class Mirroring:
    """Owns the mirrors that are taken; a context manager, within which `step` is done again and again."""

    def __init__(self, queue: MirrorQueue, lookup: Lookup, fetcher: Fetcher, stock: Stock, *, life: Life) -> None:
        self._queue, self._lookup, self._fetcher, self._stock, self._life = queue, lookup, fetcher, stock, life
        self._due, self._knocked = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._mirrors: dict[int, TakenMirror] = {}
        self._take_at = float("-inf")
        self._pool = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="look-up")

    def __enter__(self) -> Mirroring:
        self._fetcher.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._stock.shelf.keep()
        self._fetcher.join(END_TIMEOUT_S)

    def knock(self) -> None:
        """Look at the queue now. May be called from any thread."""
        self._knocked.set()
        self._due.set()

    def hurry(self) -> None:
        """Something has come, or it is time to stop. May be called from any thread."""
        self._due.set()

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to do, at most so long."""
        self._due.wait(timeout_s)

    def step(self) -> float:
        """Take what is new, and say how far the rest is; return in how many seconds to look again."""
        self._due.clear()
        if self._knocked.is_set() or self._queue.wants_more or time.monotonic() >= self._take_at:
            self._knocked.clear()
            self._take_at = time.monotonic() + TAKE_EVERY_S
            for mirror in self._queue.take() if self._obey() else ():
                try:
                    self._pool.submit(self._begin, mirror)
                except RuntimeError as error:  # no thread more
                    log.warning("%s is put off: %s", mirror.ask, error)
                    self._queue.let_go(mirror)
            self._stock.tidy()
        self._advance()
        busy = self._mirrors or self._fetcher.wanted()
        return TICK_S if busy else max(0.0, self._take_at - time.monotonic())

    def _obey(self) -> bool:
        """Do what an operator has said; return whether that is known: without it nothing new may drop what is pinned."""
        orders = self._queue.orders()
        if orders is None:
            return False
        self._stock.shelf.pinned = self._fetcher.pinned = frozenset(repo.folded for repo in orders.pinned)
        with self._lock:
            cancelled = [one for number, one in self._mirrors.items() if number in orders.cancelled]
        for one in cancelled:
            self._drop(one)
        return True

    def _begin(self, mirror: Mirror) -> None:
        """Look a mirror up, and have its files fetched. Runs in the pool."""
        try:
            if mirror.ask.is_listing:
                self._queue.report(mirror, MirrorReport(MirrorState.RUNNING))  # a long listing, and not a seeder that is away
                commit, _ = self._lookup.learn(mirror.ask.repo, mirror.ask.revision)
                self._queue.end(mirror, MirrorReport(MirrorState.DONE, commit))
            else:
                self._want_files(mirror)
        except TrackerRefused as error:
            self._fail(mirror, MirrorProblem.within(f"the tracker does not take its listing: {error}"))
        except (TrackerError, StateUnavailable) as error:
            log.info("%s is put off: %s", mirror.ask, error)
            self._queue.let_go(mirror)
        except (HubNo, HubUnreachable) as error:
            self._fail(mirror, no_of(error))
        except Exception as error:
            log.exception("looking up %s failed", mirror.ask)
            self._fail(mirror, MirrorProblem.within(f"something went wrong in the seeder ({type(error).__name__})"))

    def _want_files(self, mirror: Mirror) -> None:
        commit, listing = self._lookup.known(mirror.ask.repo, mirror.ask.revision)
        files = chosen(mirror, listing)
        if not files:
            raise HubNo(404, "EntryNotFound", f"no file of {mirror.ask} is named like that", None)
        wanted: dict[Etag, WantedBlob] = {}
        for path, file in sorted(files.items(), key=lambda item: item[1].size):  # what a program reads first is small
            if file.etag not in wanted and not self._stock.has(file.etag):
                wanted[file.etag] = self._fetcher.want(file, Place(mirror.ask.repo, commit, path), mirror.askers)
        with self._lock:
            self._mirrors[mirror.id] = TakenMirror(mirror, commit, files, wanted)
        self._due.set()

    def _fail(self, mirror: Mirror, error: MirrorProblem) -> None:
        self._queue.end(mirror, MirrorReport(MirrorState.FAILED, error=error))

    def _advance(self) -> None:
        """Tell the tracker how far each mirror is; let go of those that have ended."""
        with self._lock:
            taken = list(self._mirrors.values())
        now = time.monotonic()
        for one in taken:
            if self._life.stop.is_set():
                return  # what is not finished goes on after a restart
            self._life.beat(UPSTREAM)
            said = one.report()
            if not said.state.is_open:
                self._end(one, said)
            elif now - one.told_at >= REPORT_EVERY_S and one.is_news(said):
                heard = self._queue.report(one.mirror, said)
                if heard is Hearing.AWAY:
                    return  # the next one would cost a time-out, too
                if heard is Hearing.OVER:
                    self._drop(one)
                one.told, one.told_at = said, now

    def _end(self, one: TakenMirror, said: MirrorReport) -> None:
        self._queue.report(one.mirror, said)
        self._let_go(one)

    def _drop(self, one: TakenMirror) -> None:
        log.info("%s is fetched no more: an operator has cancelled it", one.mirror.ask)
        self._let_go(one)

    def _let_go(self, one: TakenMirror) -> None:
        self._queue.let_go(one.mirror)
        with self._lock:
            del self._mirrors[one.mirror.id]
        for blob in one.wanted.values():
            self._fetcher.release(blob)


def no_of(error: HubNo | HubUnreachable) -> MirrorProblem:
    """Say why upstream does not give something; where it is not well, that says nothing of what was asked for."""
    if isinstance(error, HubUnreachable):
        return MirrorProblem.within(f"upstream cannot be reached: {error}", code=UNREACHABLE)
    if error.status >= 500:
        said = f"upstream cannot be used: it answered {error.status}, {error.message}"
        return MirrorProblem.within(said, code=UNREACHABLE)
    return MirrorProblem.within(error.message, error.status, error.code, error.retry_after_s)
