"""What is remembered of a download from one look to the next, so that a sight can say how long and how much.

On a machine that is short of processor or disk everything stands still now and then, and so do the machines that it takes
from: only the time counts in which the session was seen to run.
"""

from __future__ import annotations

from llmpt.agent.transfer.sight import Window


class Silence:
    """The time without a byte of one download; all times are monotonic seconds.

    `ran_s`: how long the session was seen to run, of which `longest_step_s` at most count between two looks
    `silent_s`: how much of that without a byte
    `still_s`: all the time without a byte
    """

    def __init__(self, now: float, *, longest_step_s: float) -> None:
        self._longest_step_s = longest_step_s
        self._seen_at = self._now = self._byte_at = now
        self._byte_after_s = 0.0
        self.ran_s = 0.0

    def look(self, *, now: float, seen_at: float, has_come: bool) -> None:
        """At `now` the session was last seen to run at `seen_at`; `has_come`: something came since the last look."""
        self._now = now
        if seen_at > self._seen_at:
            self.ran_s += min(seen_at - self._seen_at, self._longest_step_s)
            self._seen_at = seen_at
        if has_come:
            self._byte_at, self._byte_after_s = now, self.ran_s

    @property
    def silent_s(self) -> float:
        return self.ran_s - self._byte_after_s

    @property
    def still_s(self) -> float:
        return self._now - self._byte_at


class Windows:
    """Bytes that come, window by window of `window_s` seconds: the sight after a whole one shows it, the next begins anew."""

    def __init__(self, total: int, now: float, *, window_s: float) -> None:
        self._window_s = window_s
        self._since, self._before = now, total
        self._seen = Window()

    def look(self, total: int, now: float) -> Window:
        """By `now` `total` bytes have come; return the window so far."""
        if self._seen.seconds >= self._window_s:
            self.restart(self._before + self._seen.bytes, self._since + self._seen.seconds)
        self._seen = Window(now - self._since, total - self._before)
        return self._seen

    def restart(self, total: int, now: float) -> None:
        """What was until now does not count."""
        self._since, self._before, self._seen = now, total, Window()
