"""Is a blob that comes over HTTP worth waiting for? A sender that never stops, and sends next to nothing, is no source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmpt.core.slowness import LONG_S, TIMES_SLOWER, WINDOW_S


@dataclass(frozen=True, slots=True)
class CrawlRule:
    """What is too slow.

    window_s: a pace counts when it was kept for so many seconds
    times_slower: below this fraction of the ordinary path's rate
    long_s, least_bytes_s: where that rate is not known: below so much, when the rest needs more seconds than that
    """

    window_s: float = WINDOW_S
    times_slower: float = TIMES_SLOWER
    long_s: float = LONG_S
    least_bytes_s: int = 1 << 20


class Crawl:
    """Watches one blob of `size` bytes come; `ordinary_bytes_s` is the ordinary path's rate, 0 if that is not known."""

    def __init__(self, size: int, ordinary_bytes_s: int, *, rule: CrawlRule, clock: Callable[[], float]) -> None:
        self._size, self._ordinary_bytes_s, self._rule, self._clock = size, ordinary_bytes_s, rule, clock
        self._since = clock()
        self._before: int | None = None

    def look(self, done: int) -> str:
        """`done` bytes are there now; return why the rest is not waited for, nothing while it is."""
        rule, seconds = self._rule, self._clock() - self._since
        if self._before is None:
            self._before = done
        if seconds < rule.window_s:
            return ""
        rate, self._since, self._before = (done - self._before) / seconds, self._clock(), done
        if self._ordinary_bytes_s:
            is_slow = rate * rule.times_slower < self._ordinary_bytes_s
        else:
            is_slow = rate < rule.least_bytes_s and self._size - done > rate * rule.long_s
        return f"it comes at {rate / 1000:.0f} kB/s" if is_slow else ""
