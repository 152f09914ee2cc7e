"""Leaving a neighbour alone that has failed: for a moment at first, longer each time, and not all machines in step.

    tracker = Breaker(Pauses(first_s=1, longest_s=30))
    if tracker.allows():
        try:
            ask()
        except TrackerError as error:
            tracker.failed(error)
        else:
            tracker.succeeded()

One for each neighbour: a tracker, an agent, a Hub, a blob server. Standard library only, for it runs in the user's process,
too; and without a lock, so that no fork can catch one held: the state is one value that is replaced as a whole.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long a neighbour that fails is left alone.

    first_s: after the first failure in a row
    longest_s: after however many
    factor: how many times longer each pause is than the one before
    jitter: the part of a pause (0 to 1) that chance may take away
    longest_asked_s: for how long at most the neighbour's own wish is heeded
    times_cost: the pause is at least so many times as long as asking in vain took: a refusal costs nothing, a silence does
    """

    first_s: float = 1.0
    longest_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.5
    longest_asked_s: float = 3600.0
    times_cost: float = 5.0

    def after(self, failures: int, chance: float) -> float:
        """Return the seconds to pause after the given number of failures in a row (from 1 on); 0 <= `chance` < 1."""
        whole_s = min(self.first_s, self.longest_s)
        for _ in range(failures - 1):
            whole_s *= self.factor
            if whole_s >= self.longest_s or self.factor <= 1:
                break
        return min(whole_s, self.longest_s) * (1 - self.jitter * chance)


@dataclass(frozen=True, slots=True)
class _State:
    """`failures` in a row, the last of them `error`; nothing is asked before `until`."""

    failures: int = 0
    until: float = -math.inf
    error: Exception | None = None


_WELL = _State()


class Breaker:
    """What is known of one neighbour. Safe to share among threads and after a fork."""

    def __init__(
        self,
        pauses: Pauses = Pauses(),
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`clock` returns seconds, `chance` a number from 0 to below 1."""
        self._pauses, self._clock, self._chance = pauses, clock, chance
        self._state = _WELL

    def allows(self) -> bool:
        """Whether the neighbour may be asked now."""
        return self.left_s == 0

    @property
    def left_s(self) -> float:
        """For how many seconds more it is left alone; 0 when it may be asked."""
        return max(0.0, self._state.until - self._clock())

    @property
    def why(self) -> Exception | None:
        """The last failure, for as long as it is left alone; None when it may be asked."""
        state = self._state
        return state.error if state.until > self._clock() else None

    @property
    def failures(self) -> int:
        """How many failures there were in a row."""
        return self._state.failures

    def raise_if_open(self) -> None:
        """Raise the last failure while the neighbour is left alone."""
        error = self.why
        if error is not None:
            raise error.with_traceback(None) from None

    def failed(self, error: Exception, *, retry_after_s: float | None = None, cost_s: float = 0.0) -> float:
        """Note a failure, after `cost_s` seconds of asking; return the seconds for which the neighbour is left alone now.

        `retry_after_s` is what the neighbour itself asked for; it stands instead of our own pause, and chance
        makes it longer, never shorter. What was under way together and fails together is one failure.
        """
        state, now, chance = self._state, self._clock(), self._chance()
        was_allowed = now >= state.until
        failures = state.failures + was_allowed
        if retry_after_s is not None:
            until = now + min(max(retry_after_s, 0.0), self._pauses.longest_asked_s) * (1 + self._pauses.jitter * chance)
        elif was_allowed:
            dear_s = min(self._pauses.times_cost * cost_s, self._pauses.longest_s) * (1 - self._pauses.jitter * chance)
            until = now + max(self._pauses.after(failures, chance), dear_s)
        else:
            until = state.until
        until = max(until, state.until)
        self._state = _State(failures, until, error)
        return until - now

    def succeeded(self) -> None:
        """Note an answer: the neighbour may be asked, and the next pause is the first again."""
        self._state = _WELL
