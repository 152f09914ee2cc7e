"""How long may a download be silent? As long as it is not this machine itself that has no time for it.

On a machine that is short of processor or disk everything stands still now and then, and so do the machines that it takes
from. So only the time counts in which the session was seen to run; and a blob whose peers are there waits for the others of
this machine as long as bytes come for those.
"""

from __future__ import annotations

from collections.abc import Callable

LONGEST_STEP_S = 1.0
TIMES_LONGER = 6


class RunningTime:
    """Seconds in which something was seen to run: between two looks at it, `LONGEST_STEP_S` at most."""

    def __init__(self, now: float) -> None:
        self._seen_at = now
        self.seconds = 0.0

    def seen(self, at: float) -> float:
        """It was seen to run at the moment `at`; return the seconds up to then."""
        if at > self._seen_at:
            self.seconds += min(at - self._seen_at, LONGEST_STEP_S)
            self._seen_at = at
        return self.seconds


class Patience:
    """The patience with one download, which ends after `stall_timeout_s` of silence.

    `came_at` says when anything last came to this machine (monotonic seconds). `ran_s` is how long the session was seen to
    run, `silent_s` how much of that without a byte of this download.
    """

    def __init__(self, stall_timeout_s: float, came_at: Callable[[], float], *, now: float) -> None:
        self._stall_timeout_s, self._came_at = stall_timeout_s, came_at
        self._running = RunningTime(now)
        self._byte_at, self._byte_after_s = now, 0.0
        self._now = now

    @property
    def ran_s(self) -> float:
        return self._running.seconds

    @property
    def silent_s(self) -> float:
        return self.ran_s - self._byte_after_s

    def look(self, *, now: float, seen_at: float, came: bool) -> None:
        """At `now` the session was last seen to run at `seen_at`; `came`: something has come since the last look."""
        self._now = now
        self._running.seen(seen_at)
        if came:
            self._byte_at, self._byte_after_s = now, self.ran_s

    def is_over(self, after_s: float | None = None, *, connected: bool) -> bool:
        """Whether it has been silent for too long: `after_s` (default: the stall time-out), and longer while it is `connected`
        and others get on."""
        after_s = self._stall_timeout_s if after_s is None else after_s
        if self._now - self._byte_at > TIMES_LONGER * self._stall_timeout_s:
            return True
        if self.silent_s <= after_s:
            return False
        return not connected or self._now - self._came_at() > after_s
