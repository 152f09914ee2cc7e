"""What nobody of the LAN has: one machine fetches it for all, and the others wait while that is better than fetching.

The tracker says whose turn it is (`leases`). Told to fetch, the hook is sent the ordinary way (`Yours`) and `fetches` sees
to the rest; told to wait, the bar shows how far the fetcher is; and once somebody has it, it is leeched as ever. Without
the tracker, or where nothing may be shared, everybody fetches as ever (`Refused`).
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from llmpt.agent.sharing.fetches import Fetch, Fetches
from llmpt.agent.sharing.leases import AwaitedBlob, Leases
from llmpt.agent.sharing.permission import Permission
from llmpt.agent.transfer.meter import Meter
from llmpt.agent.transfer.pace import Pace
from llmpt.agent.transfer.refusals import Refused, TryAgain, Yours
from llmpt.core.errors import TrackerError
from llmpt.core.leases import Grant, LeaseRole
from llmpt.core.repo import RepoRef
from llmpt.link.answers import Progress
from llmpt.link.requests import FetchRequest

log = logging.getLogger("llmpt.agent")
T = TypeVar("T")

PROGRESS_INTERVAL_S = 0.1
KEEP_ALIVE_S = 1.0
FIRST_ANSWER_S = 8.0
LATELY_S = 10.0
MAX_LATELY = 100


class Misses:
    """Waits for what is not on the LAN yet; `stall_timeout_s` is how long something promised may fail to appear."""

    def __init__(self, leases: Leases, fetches: Fetches, permission: Permission, *, stall_timeout_s: float) -> None:
        self.leases, self.fetches = leases, fetches
        self._permission = permission
        self._lately: OrderedDict[RepoRef | None, float] = OrderedDict()
        self._stall_timeout_s = stall_timeout_s

    def likely(self, request: FetchRequest) -> bool:
        """Whether the LAN did not have another file of this repo a moment ago: then `wait` asks all there is to ask."""
        return time.monotonic() - self._lately.get(request.repo, -LATELY_S) < LATELY_S

    def why_not(self, request: FetchRequest) -> str:
        """Say why what `request` wants is not fetched for everybody; nothing when it may be."""
        return self._permission.why_not(request)

    def wait(
        self,
        request: FetchRequest,
        meter: Meter,
        look: Callable[[], T | None],
        emit: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> T:
        """Return what `look` finds when the tracker says that the LAN has it; `emit` is told of the way there.

        Raises `Yours` when this machine is to fetch it, `Refused` when it is better to take the ordinary path, `TryAgain`
        when `cancelled`.
        """
        if (reason := self.why_not(request)) or request.repo is None:
            self._note(request, lacking=False)
            raise Refused(f"nobody of the LAN has it; not waited for: {reason}")
        try:
            with self.leases.want(request.etag, request.size, request.repo) as want:
                return self._wait(want, Turn(request, self._stall_timeout_s), meter, look, emit, cancelled)
        except TrackerError as error:
            self._note(request, lacking=False)
            raise Refused(str(error)) from None

    def _note(self, request: FetchRequest, *, lacking: bool) -> None:
        """Remember whether the LAN lacks files of this repo."""
        self._lately.pop(request.repo, None)
        if lacking:
            self._lately[request.repo] = time.monotonic()
            while len(self._lately) > MAX_LATELY:
                self._lately.popitem(last=False)

    def _wait(
        self,
        want: AwaitedBlob,
        turn: Turn,
        meter: Meter,
        look: Callable[[], T | None],
        emit: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> T:
        seen, last_sent = 0, time.monotonic()
        while True:
            self.leases.await_answer(want, seen, PROGRESS_INTERVAL_S)
            now = time.monotonic()
            if cancelled():
                raise TryAgain("cancelled")
            if want.error is not None:
                raise want.error
            lease, fresh, seen = want.lease, want.answers > seen, want.answers
            if lease is not None and lease.role is LeaseRole.FETCH:
                self.fetches.grant(turn.request)
                self._note(turn.request, lacking=True)
                raise Yours("this machine fetches it for all")
            if fresh and lease is not None and lease.role is LeaseRole.HERE and (found := look()) is not None:
                if seen == 1:  # it was there all the time
                    self._note(turn.request, lacking=False)
                return found
            if reason := turn.over(lease, now):
                raise Refused(reason)
            if now - last_sent >= (PROGRESS_INTERVAL_S if fresh else KEEP_ALIVE_S):
                last_sent = now
                emit(waiting(meter, lease.bytes if lease else 0, lease.rate_bytes_s if lease else 0))

    def follow(self, fetch: Fetch, meter: Meter, emit: Callable[[Progress], None], cancelled: Callable[[], bool]) -> None:
        """Wait for what another program of this machine fetches; `fetch` says how it ended. Raises `Refused` when `cancelled`."""
        while not fetch.ended.wait(PROGRESS_INTERVAL_S):
            if cancelled():
                raise Refused("cancelled")
            emit(waiting(meter, fetch.done_bytes, 0))


class Turn:
    """When waiting for a lease's outcome is no longer better than fetching."""

    def __init__(self, request: FetchRequest, stall_timeout_s: float) -> None:
        self.request = request
        self._stall_timeout_s = stall_timeout_s
        self._began = time.monotonic()
        self._here_since: float | None = None
        self._fetcher: str | None = None
        self._fetched = 0
        self._pace = Pace(0, now=self._began)

    def over(self, lease: Grant | None, now: float) -> str:
        """Say why; nothing while it goes on."""
        if lease is None:
            return "" if now - self._began < FIRST_ANSWER_S else "the tracker does not say who fetches it"
        if lease.role is LeaseRole.HERE:
            self._here_since = self._here_since or now
            return "" if now - self._here_since < self._stall_timeout_s else "it was there, and is gone"
        self._here_since = None
        if lease.fetcher is None or lease.fetcher != self._fetcher or lease.bytes < self._fetched:
            self._pace = Pace(self.request.ordinary_rate_bytes_s, now=now)
        self._fetcher, self._fetched = lease.fetcher, lease.bytes
        if self._pace.falls_behind(lease.bytes, now=now):
            return f"{lease.fetcher} fetches it much slower than the Hub has been here"
        return ""


def waiting(meter: Meter, fetched_bytes: int, rate_bytes_s: int) -> Progress:
    """Make the report for a hook that waits for another machine, or another program of this one."""
    return Progress(meter.waiting(fetched_bytes), rate_bytes_s, waiting=True)
