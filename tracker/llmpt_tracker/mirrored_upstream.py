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
from datetime import datetime
from urllib.parse import quote

from llmpt.core.errors import InvalidInput
from llmpt.core.repo import RepoRef, check_ref
from llmpt_tracker.clock import Clock
from llmpt_tracker.database.models import Mirror
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import Refused, UpstreamRefused
from llmpt_tracker.rules import catalogue, mirrors

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


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A row as it was seen: what it says, and how long that stands (seconds)."""

    state: str
    status: int | None
    code: str
    message: str
    stands_s: int

    @classmethod
    def of(cls, row: Mirror, now: datetime) -> _Outcome:
        left_s = 0 if row.retry_at is None else max(1, int((row.retry_at - now).total_seconds()))
        return cls(row.state, row.status, row.code or "", row.error or "", left_s)


@dataclass(slots=True)
class _Watch:
    """One row that requests wait for; the first of them looks at it for all."""

    over: threading.Event = field(default_factory=threading.Event)
    outcome: _Outcome | None = None


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
            wish = mirrors.Ask(repo, check_ref(revision or "main"))
        except InvalidInput:
            return  # no repo has such a revision, and the catalogue will say so
        known = self._known(wish)
        if known is not None and known.complete:
            if known.commit != wish.revision:
                self._enter(wish)
            return
        outcome = self._enter(wish)
        if outcome.state in mirrors.OPEN:
            outcome = self._watch(wish) or outcome
        if outcome.state == mirrors.FAILED and outcome.code == mirrors.UNREACHABLE:
            self._quiet_until = time.monotonic() + self._patience.quiet_s
        elif outcome.state == mirrors.FAILED and outcome.status is not None and known is None:
            retry_after_s = outcome.stands_s if outcome.status == 429 else None
            raise UpstreamRefused(outcome.status, outcome.code, outcome.message, retry_after_s)

    def fetch(self, repo: RepoRef, commit: str, path: str, etag: str) -> None:
        """See `Upstream`."""
        now = time.monotonic()
        with self._lock:
            if now - self._asked.get(etag, float("-inf")) < self._patience.file_asked_s:
                return
            if len(self._asked) >= MAX_REMEMBERED:
                self._asked.clear()
            self._asked[etag] = now
        self._enter(mirrors.Ask(repo, commit, (mirrors.exactly(path),)))

    def url(self, repo: RepoRef, revision: str, path: str) -> str:
        """See `Upstream`."""
        kind = "" if repo.type == "model" else f"{repo.type}s/"
        return f"{self._address() or ''}/{kind}{repo.id}/resolve/{quote(revision, safe='')}/{quote(path)}"

    def _known(self, wish: mirrors.Ask) -> catalogue.RevisionSummary | None:
        try:
            with self._database.reading() as session:
                return catalogue.find_revision(session, wish.repo, wish.revision)
        except Refused:
            return None

    def _enter(self, wish: mirrors.Ask) -> _Outcome:
        """Put a wish into the queue, unless it stands there or has just been answered; return how its row is."""
        now = self._clock()
        with self._database.reading() as session:
            row = mirrors.find(session, wish)
            if row is not None and mirrors.stands(row, now):
                return _Outcome.of(row, now)
        try:
            with self._database.writing() as session:
                outcome = _Outcome.of(mirrors.ask(session, wish, now=now), now)
        except Refused as error:
            log.warning("%s@%s is not asked for: %s", wish.repo, wish.revision, error)
            return _Outcome(mirrors.DONE, None, "", "", 0)
        self._knock()
        return outcome

    def _watch(self, wish: mirrors.Ask) -> _Outcome | None:
        """Wait until the row has ended; None when it has not in time, or nobody may wait now."""
        with self._lock:
            if self._waiting >= self._patience.most or time.monotonic() < self._quiet_until:
                return None
            self._waiting += 1
            watch = self._watched.get(wish.key)
            first = watch is None
            if watch is None:
                watch = self._watched[wish.key] = _Watch()
        try:
            if not first:
                watch.over.wait(self._patience.wait_s)
                return watch.outcome
            try:
                watch.outcome = self._poll(wish)
            finally:
                with self._lock:
                    del self._watched[wish.key]
                watch.over.set()
            return watch.outcome
        finally:
            with self._lock:
                self._waiting -= 1

    def _poll(self, wish: mirrors.Ask) -> _Outcome | None:
        deadline = time.monotonic() + self._patience.wait_s
        while True:
            with self._database.reading() as session:
                row = mirrors.find(session, wish)
                if row is None:
                    return None
                outcome = _Outcome.of(row, self._clock())
            if outcome.state not in mirrors.OPEN:
                return outcome
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(min(left_s, max(self._patience.poll_s, len(self._watched) / POLLS_PER_S)))
        if outcome.state == mirrors.QUEUED:  # nobody has as much as looked at it
            log.warning("no seeder takes the queue: nobody waits for it in the next %.0f s", self._patience.quiet_s)
            self._quiet_until = time.monotonic() + self._patience.quiet_s
        return outcome
