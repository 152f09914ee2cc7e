"""The leases of this machine: what it waits for, what it fetches for all, and who else fetches what.

One thread asks the tracker for the whole machine: at once for what is newly wanted, then every `poll_s` of the tracker's
for as long as there is something to say. What comes while an answer is under way goes into the next question, so eight
files wanted together cost two questions.
"""

from __future__ import annotations

import logging
import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import TrackerError, TrackerRefused, TrackerSlow
from llmpt.core.leases import Ended, FetchProgress, Grant, LeaseAnswer, LeaseOutcome, LeaseRole, Poll, Want
from llmpt.core.repo import RepoRef
from llmpt.host import loops
from llmpt.host.loops import Health, Rhythm

log = logging.getLogger("llmpt.agent")

IDLE_S = 3600.0  # the thread wakes when there is something to say


@dataclass(frozen=True, slots=True)
class PollTimings:
    """How often the tracker is asked.

    poll_s: until it has said how often
    soonest_s, longest_s: between these its own word counts
    again: after a failure, for what is fetched or waited for already
    pauses: for how long it is left alone by what is newly wanted, once its failures have lasted for the stall time-out
    busy_s: the same after a 429 that does not say
    told_s: a blob that another machine was fetching by the tracker's last word is waited for so long without another one: what
        comes to that machine does not depend on the tracker, and one that is started anew is back by then
    """

    poll_s: float = 0.5
    soonest_s: float = 0.05
    longest_s: float = 5.0
    again: Pauses = Pauses(first_s=0.5, longest_s=1.0)
    pauses: Pauses = Pauses(first_s=0.5, longest_s=30.0)
    busy_s: float = 1.0
    told_s: float = 15.0


class AwaitedBlob:
    """A blob that this machine waits for.

    lease: the last answer; None before the first
    error: why there will be no more
    answers: how many came
    heard_at: when the last one did, or when the blob was first wanted
    passed_over_at: since when the tracker has been answering without a word on it; None: it has not
    """

    def __init__(self, want: Want, heard_at: float) -> None:
        self.want = want
        self.lease: Grant | None = None
        self.error: TrackerError | None = None
        self.answers = 0
        self.heard_at = heard_at
        self.passed_over_at: float | None = None

    @property
    def etag(self) -> Etag:
        return self.want.etag


class Leases:
    """Asks by `ask` (POST /api/v1/leases; raises `TrackerError`). A thread, once `start`ed."""

    def __init__(
        self,
        ask: Callable[[Poll], LeaseAnswer],
        *,
        stall_timeout_s: float,
        timings: PollTimings = PollTimings(),
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        hub_rate_bytes_s: Callable[[], int] = lambda: 0,
    ) -> None:
        """`clock` and `chance` as in `Breaker`; `hub_rate_bytes_s` says how fast the Hub is here, 0 for not known."""
        self._hub_rate_bytes_s, self._asks_hub_rate = hub_rate_bytes_s, False
        self._ask, self._clock, self._timings = ask, clock, timings
        self._stall_timeout_s = stall_timeout_s
        self._machine = secrets.token_hex(8)
        self._changed = threading.Condition()
        self._awaited: dict[Etag, AwaitedBlob] = {}
        self._fetching: dict[Etag, FetchProgress] = {}
        self._ended: dict[Etag, LeaseOutcome] = {}
        self._next_at = 0.0
        self._chance = chance
        self._failing_since: float | None = None
        self._tracker = Breaker(timings.pauses, clock=clock, chance=chance)

    def start(self, *, stop: threading.Event | None = None, health: Health | None = None) -> None:
        """Ask, on a thread, until `stop` is set."""
        loops.start(
            "leases",
            self._poll_if_due,
            Rhythm(interval_s=IDLE_S),
            stop=stop or threading.Event(),
            health=health or Health(),
            wait=self._wait,
        )

    @contextmanager
    def want(self, etag: Etag, size: int, repo: RepoRef) -> Iterator[AwaitedBlob]:
        """Wait for a blob inside the `with`. A lease that is not held (`hold`) when it ends goes to another machine.

        Raises `TrackerError` at once when the tracker has been giving no answer for so long that it is out of action.
        """
        awaited = AwaitedBlob(Want(etag, size, repo), self._clock())
        with self._changed:
            if not self._may_be_back(self._stall_timeout_s):
                self._tracker.raise_if_open()
            self._awaited[etag] = awaited
            self._next_at = 0.0 if self._failing_since is None else self._next_at
            self._changed.notify_all()
        try:
            yield awaited
        finally:
            with self._changed:
                del self._awaited[etag]
                if awaited.lease is not None and awaited.lease.role is LeaseRole.FETCH and etag not in self._fetching:
                    self._ended[etag] = LeaseOutcome.FAILED
                self._changed.notify_all()

    def await_answer(self, awaited: AwaitedBlob, seen: int, timeout_s: float) -> None:
        """Return when more than `seen` answers have come, when there will be none, or after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: awaited.answers > seen or awaited.error is not None, timeout_s)

    def hold(self, etag: Etag) -> None:
        """This machine takes the lease that it was given, and fetches."""
        with self._changed:
            self._fetching[etag] = FetchProgress(etag, 0, 0)
            self._ended.pop(etag, None)
            self._changed.notify_all()

    def report(self, etag: Etag, done_bytes: int, rate_bytes_s: int) -> None:
        """Note how far it is, for the next question."""
        with self._changed:
            if etag in self._fetching:
                self._fetching[etag] = FetchProgress(etag, done_bytes, rate_bytes_s)

    def end(self, etag: Etag, outcome: LeaseOutcome) -> None:
        """Give the lease back."""
        with self._changed:
            self._fetching.pop(etag, None)
            self._ended[etag] = outcome
            self._changed.notify_all()

    def poll(self) -> None:
        """Ask once, for everything."""
        with self._changed:
            awaited, ended = list(self._awaited.values()), dict(self._ended)
            poll = self._poll(awaited, ended)
            asked_at = self._clock()
            self._next_at = asked_at + self._timings.poll_s
        try:
            answer = self._ask(poll)
        except TrackerError as error:
            self._failed(error, awaited, asked_at)
        else:
            self._answered(answer, awaited, ended)

    def _poll(self, awaited: Sequence[AwaitedBlob], ended: Mapping[Etag, LeaseOutcome]) -> Poll:
        return Poll(
            self._machine,
            self._stall_timeout_s,
            tuple(one.want for one in awaited),
            tuple(self._fetching.values()),
            tuple(Ended(etag, outcome) for etag, outcome in ended.items()),
            hub_rate_bytes_s=self._hub_rate_bytes_s() if self._asks_hub_rate else 0,
        )

    def _answered(self, answer: LeaseAnswer, awaited: Sequence[AwaitedBlob], ended: Mapping[Etag, LeaseOutcome]) -> None:
        grants = {grant.etag: grant for grant in answer.grants}
        poll_s = min(max(answer.poll_s, self._timings.soonest_s), self._timings.longest_s)
        with self._changed:
            self._tracker.succeeded()
            self._failing_since, self._asks_hub_rate = None, answer.asks_hub_rate
            if self._next_at > 0:  # else something new is wanted already
                self._next_at = self._clock() + poll_s
            for etag, outcome in ended.items():
                if self._ended.get(etag) == outcome:
                    del self._ended[etag]
            for one in awaited:
                one.heard_at = self._clock()
                if (grant := grants.get(one.etag)) is None:
                    one.passed_over_at = one.passed_over_at or one.heard_at
                else:
                    one.lease = grant
                    one.answers += 1
                    is_gone = self._awaited.get(one.etag) is not one and one.etag not in self._fetching
                    if grant.role is LeaseRole.FETCH and is_gone:
                        self._ended[one.etag] = LeaseOutcome.FAILED
            self._changed.notify_all()

    def _may_be_back(self, within_s: float) -> bool:
        """Whether the tracker's failures have not lasted for so long: perhaps it is being started anew."""
        return self._failing_since is not None and self._clock() - self._failing_since < within_s

    def _patience_s(self, awaited: AwaitedBlob) -> float:
        """For how long a blob is waited for while the tracker gives no answer."""
        lease = awaited.lease
        is_fetched = lease is not None and lease.role is LeaseRole.WAIT and lease.fetcher is not None
        return max(self._timings.told_s, self._stall_timeout_s) if is_fetched else self._stall_timeout_s

    def _failed(self, error: TrackerError, awaited: Sequence[AwaitedBlob], asked_at: float) -> None:
        """What waits goes on for a while when a tracker is restarted, or has too much to do; then there is none."""
        slow = isinstance(error, TrackerSlow)
        asked_s = None
        if isinstance(error, TrackerRefused) and error.status == 429:
            asked_s = error.retry_after_s or self._timings.busy_s
        final = isinstance(error, TrackerRefused) and (asked_s is None or asked_s >= self._stall_timeout_s)
        log.info("no leases: %s", error)
        with self._changed:
            self._asks_hub_rate = self._asks_hub_rate and not isinstance(error, TrackerRefused)  # an older one took its place?
            now = self._clock()
            if final:
                self._failing_since = -math.inf  # it is there, and says no
            elif self._failing_since is None:
                self._failing_since = asked_at
            for one in awaited:
                patience_s = self._patience_s(one)
                overdue = now - one.heard_at >= patience_s
                if final or (not self._may_be_back(patience_s) and (overdue or (one.answers == 0 and not slow))):
                    one.error = error
            if not slow or any(one.error is error for one in awaited):
                self._tracker.failed(error, retry_after_s=asked_s, cost_s=now - asked_at)
            again_s = self._timings.again.after(max(self._tracker.failures, 1), self._chance())
            self._next_at = now + max(again_s, asked_s or 0.0)
            if not self._fetching and not self._awaited:
                self._ended.clear()  # what is not reported ends by itself
            self._changed.notify_all()

    def _poll_if_due(self) -> None:
        with self._changed:
            is_due = self._due_in_s() <= 0
        if is_due:
            self.poll()

    def _wait(self, longest_s: float) -> None:
        """Wait until the next question is due, but no longer than that."""
        with self._changed:
            due_in_s = self._due_in_s()
            if due_in_s > 0:
                self._changed.wait(min(due_in_s, longest_s))

    def _due_in_s(self) -> float:
        """Return the seconds until the next question; infinity while there is nothing to say."""
        if not (self._awaited or self._fetching or self._ended):
            return math.inf
        return self._next_at - self._clock()
