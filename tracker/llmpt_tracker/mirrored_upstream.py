"""Asking upstream through the seeder: a mirror goes into the queue, the seeder is knocked for, and the answer is what the
mirror says.

A hundred clients may ask for the same new repo at once, and a server has few threads. So one request watches a mirror for all
that wait for it, a request waits 8 s at most, and no more than 96 of them in one process; and when the seeder
is away, or upstream cannot be reached, nothing waits for half a minute.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from llmpt.core.errors import InvalidInput
from llmpt.core.mirrors import UNREACHABLE, Mirror, MirrorAsk, MirrorState, exactly
from llmpt.core.repo import RepoRef, check_ref
from llmpt_tracker.clock import Clock
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused, UpstreamRefused
from llmpt_tracker.rules import mirrors
from llmpt_tracker.rules.catalogue import repos

log = logging.getLogger(__name__)

POLLS_PER_S = 80  # of one process: with many mirrors to look at, each is looked at less often
MAX_REMEMBERED = 20_000
MAX_WAITING = 96  # requests of one process; its threads are so many more


@dataclass(frozen=True, slots=True)
class Patience:
    """How long requests wait, in seconds.

    `wait_s`: one request for an answer of upstream.
    `poll_s`: between two looks at a mirror.
    `quiet_s`: nothing waits for so long after upstream could not be reached, or no seeder took a mirror.
    `file_asked_s`: for so long a file that was asked for is not asked for again.
    `most`: so many requests may wait at once.
    """

    wait_s: float = 8.0
    poll_s: float = 0.05
    quiet_s: float = 30.0
    file_asked_s: float = 5.0
    most: int = MAX_WAITING


@dataclass(slots=True)
class _Watch:
    """One mirror that requests wait for; the first of them looks at it for all, and leaves what it saw."""

    over: threading.Event = field(default_factory=threading.Event)
    seen: Mirror | None = None


class MirroredUpstream:
    """The `Upstream` of a tracker. `address` says where it is; `knock` makes the seeder look at the queue now."""

    def __init__(
        self,
        address: Callable[[], str | None],
        *,
        database: Database,
        clock: Clock,
        knock: Callable[[], None],
        patience: Patience | None = None,
    ) -> None:
        self._address, self._database, self._clock, self._knock = address, database, clock, knock
        self._patience = patience or Patience()
        self._lock = threading.Lock()
        self._watched: dict[str, _Watch] = {}
        self._waiting = 0
        self._quiet_until = 0.0
        self._asked: dict[str, float] = {}

    @property
    def address(self) -> str | None:
        """See `Upstream`."""
        return self._address()

    def learn(self, repo: RepoRef, revision: str | None) -> None:
        """See `Upstream`. A ref whose commit is known as a whole is looked up anew behind the client's back."""
        try:
            ask = MirrorAsk(repo, check_ref(revision or "main"))
        except InvalidInput:
            return  # no repo has such a revision, and the catalogue will say so
        known = self._known(ask)
        if known is not None and known.complete:
            if known.commit != ask.revision:
                self._enter(ask)
            return
        mirror = self._enter(ask)
        if mirror is not None and mirror.state.is_open:
            mirror = self._watch(ask) or mirror
        if mirror is None or mirror.state is not MirrorState.FAILED or mirror.error is None:
            return
        no = mirror.error
        if no.code == UNREACHABLE:
            self._quiet_until = time.monotonic() + self._patience.quiet_s
        elif no.status is not None and known is None:
            retry_after_s = max(1, no.retry_after_s or 0) if no.status == 429 else None
            raise UpstreamRefused(no.status, no.code or "", no.message, retry_after_s)

    def fetch(self, repo: RepoRef, commit: str, path: str, etag: str) -> None:
        """See `Upstream`."""
        now = time.monotonic()
        with self._lock:
            if now - self._asked.get(etag, float("-inf")) < self._patience.file_asked_s:
                return
            if len(self._asked) >= MAX_REMEMBERED:
                self._asked.clear()
            self._asked[etag] = now
        self._enter(MirrorAsk(repo, commit, (exactly(path),)))

    def url(self, repo: RepoRef, revision: str, path: str) -> str:
        """See `Upstream`."""
        kind = "" if repo.type == "model" else f"{repo.type}s/"
        return f"{self._address() or ''}/{kind}{repo.id}/resolve/{quote(revision, safe='')}/{quote(path)}"

    def _known(self, ask: MirrorAsk) -> repos.RevisionSummary | None:
        try:
            with self._database.reading() as session:
                return repos.find_revision(session, ask.repo, ask.revision)
        except Refused:
            return None

    def _enter(self, ask: MirrorAsk) -> Mirror | None:
        """Queue a mirror, unless it stands there or has just ended; return how it is, None when the queue is full."""
        now = self._clock()
        with self._database.reading() as session:
            mirror = mirrors.standing(session, ask, now=now)
        if mirror is not None:
            return mirror
        try:
            with self._database.writing() as session:
                mirror = mirrors.ask(session, ask, now=now)
        except Refused as error:
            log.warning("%s is not asked for: %s", ask, error)
            return None
        self._knock()
        return mirror

    def _watch(self, ask: MirrorAsk) -> Mirror | None:
        """Wait until the mirror has ended; None when it has not in time, or nothing may wait now."""
        with self._lock:
            if self._waiting >= self._patience.most or time.monotonic() < self._quiet_until:
                return None
            self._waiting += 1
            watch = self._watched.get(ask.key)
            first = watch is None
            if watch is None:
                watch = self._watched[ask.key] = _Watch()
        try:
            if not first:
                watch.over.wait(self._patience.wait_s)
                return watch.seen
            try:
                watch.seen = self._poll(ask)
            finally:
                with self._lock:
                    del self._watched[ask.key]
                watch.over.set()
            return watch.seen
        finally:
            with self._lock:
                self._waiting -= 1

    def _poll(self, ask: MirrorAsk) -> Mirror | None:
        deadline = time.monotonic() + self._patience.wait_s
        while True:
            with self._database.reading() as session:
                mirror = mirrors.find(session, ask, now=self._clock())
            if mirror is None or not mirror.state.is_open:
                return mirror
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(min(left_s, max(self._patience.poll_s, len(self._watched) / POLLS_PER_S)))
        if mirror.state is MirrorState.QUEUED:  # no seeder has as much as looked at it
            log.warning("no seeder takes the queue: nothing waits for it in the next %.0f s", self._patience.quiet_s)
            self._quiet_until = time.monotonic() + self._patience.quiet_s
        return mirror
