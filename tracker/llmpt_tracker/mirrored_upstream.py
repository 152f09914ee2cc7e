"""Asking upstream through the seeder: a mirror goes into the queue, the seeder is knocked for, and the answer is what the
mirror says.

What one client may cost is bounded: the listings that it asks for (`Questions`), and the files of its own in the queue. A repo
of which upstream has just said that there is none is not asked for under another revision.

Hundreds of clients may ask for the same new repo at once, and a server has few threads. So a mirror is looked at once for all
that wait for it, a request waits 8 s at most, and only so many of them do (`Waiting`): one more is told to come back, never
that there is no such repo. When the seeder is away, or upstream cannot be reached, nothing waits for half a minute.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from llmpt.core.errors import InvalidInput
from llmpt.core.mirrors import UNREACHABLE, Mirror, MirrorAsk, MirrorState, asker_name, exactly
from llmpt.core.networks import parse_address
from llmpt.core.repo import RepoRef, check_ref
from llmpt_tracker.clock import Clock
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.errors import AnnouncerUnavailable, Refused, TooManyWait, UpstreamRefused
from llmpt_tracker.questions import Questions
from llmpt_tracker.rules import mirrors
from llmpt_tracker.rules.catalogue import repos
from llmpt_tracker.rules.hub.upstream import Client, WantedFile
from llmpt_tracker.waiting import MAX_WAITING, Waiting

log = logging.getLogger(__name__)

MAX_REMEMBERED = 20_000
RETRY_AFTER_S = 3
NO_WORD = 424  # no client takes it for a no, and none tries again and again for half a minute, as of a status of the 500s
SLOWLY = "this machine has asked for much that is not on this LAN: try again in a moment"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long requests wait, in seconds.

    `wait_s`: one request for an answer of upstream.
    `poll_s`: between two looks at a mirror.
    `quiet_s`: nothing waits for so long after upstream could not be reached, or no seeder took a mirror.
    `confirm_s`: one request for the word of upstream on a ref that is known: without it there is an answer as well.
    `file_asked_s`: for so long a file that was asked for is not asked for again.
    `ref_ttl_s`: for so long upstream's word counts on where a ref points.
    `most`: so many requests may wait at once, where nothing else says how many.
    """

    wait_s: float = 8.0
    confirm_s: float = 2.0
    poll_s: float = 0.05
    quiet_s: float = 30.0
    file_asked_s: float = 5.0
    ref_ttl_s: float = 60.0
    most: int = MAX_WAITING


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may cost: how many of them wait, and how much they ask of upstream. None: as `Patience` says, and anything."""

    waiting: Waiting | None = None
    questions: Questions | None = None


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
        bounds: Bounds = Bounds(),
    ) -> None:
        self._address, self._database, self._clock, self._knock = address, database, clock, knock

        self._patience = patience or Patience()
        self._questions = bounds.questions
        self._waiting = bounds.waiting or Waiting(most=self._patience.most)
        self._lock = threading.Lock()
        self._quiet_until = 0.0
        self._ref_ttl = timedelta(seconds=self._patience.ref_ttl_s)
        self._asked: dict[tuple[str, str], float] = {}
        self._salt = ""

    @property
    def address(self) -> str | None:
        """See `Upstream`."""
        return self._address()

    def learn(self, repo: RepoRef, revision: str | None, asker: Client) -> None:
        """See `Upstream`. A ref whose commit is known as a whole is looked up anew behind the client's back."""
        try:
            ask = MirrorAsk(repo, check_ref(revision or "main"))
        except InvalidInput:
            return  # no repo has such a revision, and the catalogue will say so
        known = self._known(ask)
        if known is not None and known.complete:
            if known.commit != ask.revision:
                self._look_up(ask, asker, fresh=self._ref_ttl)
            return
        mirror, wait_s = self._look_up(ask, asker)
        if wait_s > 0 and known is None:
            raise UpstreamRefused(429, "", SLOWLY, math.ceil(wait_s))
        if mirror is not None and mirror.state.is_open:
            mirror = self._watch(ask) or mirror
        no = mirror.error if mirror is not None and mirror.state is MirrorState.FAILED else None
        if no is not None and no.code == UNREACHABLE:
            self._quiet_until = time.monotonic() + self._patience.quiet_s
        elif no is not None and no.status is not None and known is None:
            retry_after_s = max(1, no.retry_after_s or 0) if no.status == 429 else None
            raise UpstreamRefused(no.status, no.code or "", no.message, retry_after_s)
        if known is None and (mirror is None or mirror.state is not MirrorState.DONE):
            raise UpstreamRefused(NO_WORD, "", f"{ask} is not on this LAN, and {self._address()} gives no answer about it now")

    def confirm(self, repo: RepoRef, ref: str, asker: Client) -> None:
        """See `Upstream`. That little counts from the first question on: what has not come by then is not waited for again."""
        try:
            ask = MirrorAsk(repo, check_ref(ref))
        except InvalidInput:
            return
        mirror, _ = self._look_up(ask, asker)
        if mirror is None or not mirror.state.is_open or time.monotonic() < self._quiet_until:
            return
        waited_s = max(0.0, (self._clock() - mirror.requested_at).total_seconds())
        if waited_s < self._patience.confirm_s:
            with suppress(UpstreamRefused):
                self._until_ended(ask, within_s=self._patience.confirm_s - waited_s)

    def fetch(self, wanted: WantedFile, asker: Client) -> None:
        """See `Upstream`."""
        now, who = time.monotonic(), self._name(asker)
        with self._lock:
            if now - self._asked.get((wanted.etag, who), float("-inf")) < self._patience.file_asked_s:
                return
            if len(self._asked) >= MAX_REMEMBERED:
                self._asked.clear()
            self._asked[wanted.etag, who] = now
        self._enter(MirrorAsk(wanted.repo, wanted.commit, (exactly(wanted.path),)), who)

    def url(self, repo: RepoRef, revision: str, path: str) -> str:
        """See `Upstream`."""
        return (self._address() or "") + repo.file_route(revision, path)

    def _known(self, ask: MirrorAsk) -> repos.RevisionSummary | None:
        try:
            with self._database.reading() as session:
                return repos.find_revision(session, ask.repo, ask.revision)
        except Refused:
            return None

    def _name(self, asker: Client) -> str:
        if not self._salt:
            with self._database.reading() as session:
                self._salt = repos.instance_id(session)
        return asker_name(self._salt, parse_address(asker.address))

    def _look_up(self, ask: MirrorAsk, asker: Client, *, fresh: timedelta = mirrors.FRESH) -> tuple[Mirror | None, float]:
        """Queue a listing, if the asker may have one and it was not done less than `fresh` ago; return how it is, and in how many
        seconds it may be asked for."""
        now = self._clock()
        with self._database.reading() as session:
            mirror = mirrors.standing(session, ask, now=now, fresh=fresh) or mirrors.no_such_repo(session, ask.repo, now=now)
        if mirror is not None:
            return mirror, 0.0
        try:
            wait_s = self._questions.wait_s(asker.address) if self._questions else 0.0
        except AnnouncerUnavailable as error:
            log.warning("%s is not asked for: %s", ask, error)
            return None, 1.0
        return (None, wait_s) if wait_s > 0 else (self._enter(ask, self._name(asker)), 0.0)

    def _enter(self, ask: MirrorAsk, who: str) -> Mirror | None:
        """Queue a mirror, unless it stands there or has just ended; return how it is, None when the queue is full."""
        now = self._clock()
        with self._database.reading() as session:
            mirror = mirrors.standing(session, ask, now=now)
        if mirror is not None and (who in mirror.askers or not mirror.may_have_more_askers):
            return mirror
        try:
            with self._database.writing() as session:
                mirror = mirrors.ask(session, ask, now=now, asker=who)
        except Refused as error:
            log.warning("%s is not asked for: %s", ask, error)
            return None
        self._knock()
        return mirror

    def _watch(self, ask: MirrorAsk) -> Mirror | None:
        """Wait until the mirror has ended; None when it has not in time, or nothing is waited for now.

        Raises `UpstreamRefused` (503) when too many wait already.
        """
        if time.monotonic() < self._quiet_until:
            return None
        ended = self._until_ended(ask, within_s=self._patience.wait_s)
        if ended is None:
            self._look_whether_taken(ask)
        return ended

    def _until_ended(self, ask: MirrorAsk, *, within_s: float) -> Mirror | None:
        try:
            return self._waiting.until(ask.key, partial(self._ended, ask), within_s=within_s, poll_s=self._patience.poll_s)
        except TooManyWait as error:
            raise UpstreamRefused(503, "", f"{error}: try again in a moment", RETRY_AFTER_S) from None

    def _ended(self, ask: MirrorAsk) -> Mirror | None:
        mirror = self._find(ask)
        return None if mirror is None or mirror.state.is_open else mirror

    def _find(self, ask: MirrorAsk) -> Mirror | None:
        with self._database.reading() as session:
            return mirrors.find(session, ask, now=self._clock())

    def _look_whether_taken(self, ask: MirrorAsk) -> None:
        """Have nothing wait for a while where no seeder has as much as looked at a mirror that was waited for."""
        mirror = self._find(ask)
        if mirror is not None and mirror.state is MirrorState.QUEUED:
            log.warning("no seeder takes the queue: nothing waits for it in the next %.0f s", self._patience.quiet_s)
            self._quiet_until = time.monotonic() + self._patience.quiet_s
